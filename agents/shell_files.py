"""Files to and from a device, checked by digest at the far end (agents/device/files.sh)."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agents import AgentError, Progress
from agents.shell_run import clean
from agents.transport import Transport

SHA256 = re.compile(r"[0-9a-f]{64}")
FOLDER = re.compile(r"/[^\x00-\x1f\x7f]*")
NUMBER = re.compile(r"[0-9]{1,18}")
#: The slowest that a device may be at computing a digest, in bytes per second: what its limit is made from.
SLOWEST = 10 * 2**20

#: Ask agents/device/files.sh: arguments and a limit in seconds in, `KEY VALUE` lines out.
Ask = Callable[[Sequence[str], float], Mapping[str, str]]


def digest_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _limit_s(size: int) -> float:
    return 60 + size / SLOWEST


def _number(told: Mapping[str, str], key: str) -> int | None:
    value = told.get(key, "")
    return int(value) if NUMBER.fullmatch(value) else None


class Push:
    """One file on its way. The device's own folder is the only word of it that is used, and only as a path."""

    def __init__(self, ask: Ask, transport: Callable[[], Transport], folder: str, device: str) -> None:
        self._ask, self._transport, self._folder, self._device = ask, transport, folder, device

    def push(self, file: Path, sha256: str, on_progress: Progress) -> str:
        try:
            sha256, size = sha256 or digest_of(file), file.stat().st_size
            mode = "755" if os.access(file, os.X_OK) else "644"
        except OSError as error:
            raise _failed(f"{file} cannot be read here: {error.strerror}") from error
        if not SHA256.fullmatch(sha256):
            raise _failed(f"'{sha256}' is no sha256")
        told = self._ask(["look", self._folder, sha256, file.name, mode], _limit_s(size))
        folder = told.get("folder", "")
        if not FOLDER.fullmatch(folder):
            raise _failed(f"{self._device} gave '{clean(folder)[:200]}' as its folder: set the option `folder`")
        place = f"{folder}/files/{sha256}"
        if "present" not in told:
            self._send(file, size, told, [folder, sha256, file.name, mode], on_progress)
        return f"{place}/{file.name}"

    def _send(self, file: Path, size: int, told: Mapping[str, str], where: list[str], on_progress: Progress) -> None:
        folder, sha256, name, _ = where
        there = _number(told, "part") or 0
        there = there if there <= size else 0
        free = _number(told, "free_kib")
        if free is not None and size - there > free * 1024:
            raise _full(self._device, folder, size - there, free)
        try:
            self._transport().send(file, f"{folder}/files/{sha256}/.{name}.part", there, on_progress)
        except OSError as error:
            # Servers say no more than "failure" where a disk is full: ask. What came so far is in the way then.
            free = _number(self._ask(["drop", folder, sha256, name], 60), "free_kib")
            if free is not None and size > free * 1024:
                raise _full(self._device, folder, size, free) from error
            raise _failed(f"{self._device} would not write {name} in {folder}: {error}", retryable=True) from error
        found = self._ask(["settle", *where], _limit_s(size))
        if "differs" in found:
            raise _failed(f"{name} arrived damaged at {self._device} and was thrown away; push again", retryable=True)


def _full(device: str, folder: str, need: int, free_kib: int) -> AgentError:
    return _failed(
        f"{device} is full: {need / 2**20:.1f} MiB are needed in {folder} and {free_kib / 1024:.1f} MiB are free. "
        "Make room there, or set the device's option `folder` to a larger disk"
    )


def _failed(message: str, *, retryable: bool = False) -> AgentError:
    return AgentError(message, stage="push", retryable=retryable)


def pull(ask: Ask, transport: Callable[[], Transport], path: str, to: Path, device: str) -> None:
    """Beside its place first, then by its digest or not at all."""
    told = ask(["sum", path], 3600)
    part = None
    try:
        with tempfile.NamedTemporaryFile(dir=to.parent, prefix=f".{to.name}.", delete=False) as made:
            part = Path(made.name)
        transport().fetch(path, part)
        if digest_of(part) != told.get("sha256"):
            message = f"{path} of {device} arrived damaged, or changed meanwhile"
            raise AgentError(message, stage="pull", retryable=True)
        part.replace(to)
    except OSError as error:
        raise AgentError(
            f"{path} of {device} cannot be brought here: {error}", stage="pull", retryable=False
        ) from error
    finally:
        if part:
            part.unlink(missing_ok=True)
