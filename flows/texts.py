"""The texts that perplexity is measured on, kept by their sha256 so that a path never changes a question."""

from __future__ import annotations

import hashlib
from pathlib import Path

from quantfarm import corpus
from quantfarm.errors import UsageError
from quantfarm.sweeps import Sweep
from storage import atomic
from storage.home import Home


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
    """What quantizers learn from: the file that the sweep names, else the training part of the reference corpus.

    Raises UsageError.
    """
    if sweep.calibration is None:
        return "\n".join(corpus.documents(held_out=False)).encode()
    return sweep.calibration.expanduser().read_bytes()


def name(sweep: Sweep) -> str:
    """How the user knows the text."""
    return str(sweep.text) if sweep.text else "the held-out reference corpus"


def sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def keep(home: Home, text: bytes) -> Path:
    """The file in the home that holds the text."""
    path = home.folder("texts") / f"{sha256(text)}.txt"
    if not path.exists():
        atomic.write_atomic(path, text)
    return path
