"""The lease of a device on this machine: a `flock` that dies with its holder.

The lock's file descriptor is handed to the measured process too, so a lease is not free
before the last thing that ran under it has ended, even when its controller was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

POLL_S = 0.2


def folder() -> Path:
    """One for all of this user's controllers, whatever home each uses: the device is the same."""
    given = os.environ.get("QUANTFARM_LEASES")
    path = Path(given) if given else Path(tempfile.gettempdir()) / f"quantfarm-leases-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user: set QUANTFARM_LEASES to a folder of your own")
    return path


def holder_of(device: str) -> str:
    """Who holds (or last held) a lease, in words."""
    try:
        note = json.loads((folder() / f"{device}.lock").read_text())
        return f"{note['holder']} (process {note['pid']}, since {note['since']})"
    except (OSError, ValueError, KeyError):
        return "an unknown process"


def _acquire(fd: int, device: str, on_wait: Callable[[str], None]) -> None:
    told = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not told:
                on_wait(holder_of(device))
                told = True
            time.sleep(POLL_S)


@contextmanager
def lease(device: str, holder: str, on_wait: Callable[[str], None]) -> Iterator[int]:
    """Hold the device's lock; yields the descriptor to hand to what runs under it."""
    fd = os.open(folder() / f"{device}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(fd, device, on_wait)
        note = {"holder": holder, "pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(note).encode(), 0)
        yield fd
    finally:
        os.close(fd)
