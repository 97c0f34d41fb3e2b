"""The texts that perplexity is measured on and quantizers learn from, kept by sha256: a path changes no question."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from quantfarm import calibration as learning
from quantfarm import corpus
from quantfarm.errors import UsageError
from quantfarm.sweeps import Sweep
from quantfarm.tasks import BUILT_IN
from storage import atomic
from storage.home import Home

HELD_OUT = "the held-out reference corpus"


def read(sweep: Sweep) -> bytes:
    """The text of a sweep: the file it names, else the held-out reference corpus. Raises UsageError."""
    if sweep.text is None:
        return corpus.held_out_text()
    try:
        data = sweep.text.expanduser().read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the text {sweep.text}: {error.strerror}") from error
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{sweep.text} is not UTF-8 text (byte {error.start})") from error
    return data


def calibration(sweep: Sweep) -> bytes:
    """What quantizers learn from: the file that the sweep names, else a slice of the reference corpus's training part.

    Raises UsageError for one that is too short, no UTF-8, or overlaps a text that the sweep measures quality on.
    """
    data = learning.default_text() if sweep.calibration is None else _named(sweep.calibration)
    for measured, called in _measured(sweep):
        _apart(data, calibration_name(sweep), measured, called)
    return data


@functools.lru_cache(maxsize=8)
def _apart(data: bytes, called: str, measured: bytes, measured_called: str) -> None:
    """Looked at once: a sweep asks several times. Raises UsageError."""
    learning.check(data, called, measured, measured_called)


def _named(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the calibration text {path}: {error.strerror}") from error


def _measured(sweep: Sweep) -> list[tuple[bytes, str]]:
    """The texts that nothing may be learnt from; the built-in tasks' questions are of the held-out corpus."""
    found = [(read(sweep), name(sweep))]
    asked = [task for task in sweep.wanted_tasks if task in BUILT_IN]
    if sweep.text is not None and asked:
        found.append((corpus.held_out_text(), f"{HELD_OUT}, of which {asked[0]} is made"))
    return found


def calibration_name(sweep: Sweep) -> str:
    """How the user knows the calibration text."""
    return str(sweep.calibration) if sweep.calibration else "of the training part of the reference corpus"


def name(sweep: Sweep) -> str:
    """How the user knows the text."""
    return str(sweep.text) if sweep.text else HELD_OUT


def sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def keep(home: Home, text: bytes) -> Path:
    """The file in the home that holds the text."""
    path = home.folder("texts") / f"{sha256(text)}.txt"
    if not path.exists():
        atomic.write_atomic(path, text)
    return path
