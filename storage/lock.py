"""The ingester's lock: whoever holds the flock writes the database; the kernel frees it when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from quantfarm.errors import FarmError

POLL_S = 0.05
OnWait = Callable[[str], None]


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float, on_wait: OnWait | None = None) -> Iterator[None]:
    """Holds the lock. While another has it, says once to `on_wait` who; raises FarmError after `wait_s` seconds."""
    with path.open("a+") as file:
        _take(file, path, time.monotonic() + wait_s, on_wait)
        _sign(file)
        try:
            yield
        finally:
            file.truncate(0)


def _take(file: IO[str], path: Path, until: float, on_wait: OnWait | None) -> None:
    told = False
    while not _try(file):
        if time.monotonic() >= until:
            raise FarmError(f"the database is being written by {holder(path)}. Try again when that has ended.")
        if on_wait and not told:
            on_wait(holder(path))
            told = True
        time.sleep(POLL_S)


def _try(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(file: IO[str]) -> None:
    command = " ".join([Path(sys.argv[0]).name or "python", *sys.argv[1:]])[:200]
    signed = {"pid": os.getpid(), "command": command, "since": datetime.now(UTC).isoformat(timespec="seconds")}
    file.truncate(0)
    with contextlib.suppress(OSError):  # a full disk: who holds it goes unnamed; what it holds it for says so itself
        os.write(file.fileno(), json.dumps(signed).encode())


def is_locked(path: Path) -> bool:
    """Whether someone holds the lock at this moment."""
    if not path.exists():
        return False
    with path.open() as file:
        if not _try(file):
            return True
    return False


def holder(path: Path) -> str:
    """Who signed the lock, in words: `process 12 (quantfarm sweep --suite quick), since 2025-01-01T12:00:00+00:00`."""
    try:
        signed = json.loads(path.read_text())
        return f"process {signed['pid']} ({signed['command']}), since {signed['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
