"""The lease of this machine: a `flock` that dies with its holder, and a fencing token.

The lock's file descriptor is handed to the measured process too, so a lease is not free
before the last thing that ran under it has ended, even when its controller was killed.

Two files for a device, in a folder that all users of the machine share (agents/device/lease.sh, which
holds the same lease for controllers elsewhere, reads and writes them too):

    DEVICE.lock   locked while the device is leased. First line: the token, `LINEAGE COUNT`.
                  Second line: who holds it, as JSON.
    DEVICE.run    locked by runs that a controller elsewhere started: a lease begins once it is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from quantfarm.nouns import Token

POLL_S = 0.2
TELL_S = 1.0
SHARED = Path("/tmp/quantfarm-leases")  # noqa: S108 - shared on purpose: the device is the same for all its users
TOKEN = re.compile(rb"([0-9a-f-]{1,64}) ([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Held:
    """A lease in hand: `fd` is the locked descriptor, to be handed to what runs under it."""

    token: Token
    fd: int

    def held(self) -> bool:
        """A `flock` of ours cannot be taken away."""
        return True


def folder() -> Path:
    """One for all controllers on this machine, whatever home each uses: the device is the same."""
    given = os.environ.get("QUANTFARM_LEASES")
    path = Path(given) if given else SHARED
    with contextlib.suppress(FileExistsError):
        path.mkdir(parents=True)
        path.chmod(0o1777)
    if path.is_symlink() or not path.is_dir():
        raise PermissionError(f"{path} is no folder of its own: remove it, or set QUANTFARM_LEASES to another")
    return path


def _open(path: Path) -> int:
    """An existing file is opened, not created: another user's in a shared folder may not be."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        fd = os.open(path, flags | os.O_CREAT, 0o666)
        with contextlib.suppress(PermissionError):
            os.fchmod(fd, 0o666)
        return fd


def described(note: Mapping[str, object]) -> str:
    """Raises KeyError, TypeError for what is no note of a holder."""
    return f"{note['holder']} (process {note['pid']}, since {note['since']})"


def _note(fd: int) -> str:
    try:
        return described(json.loads(os.pread(fd, 4096, 0).split(b"\n")[1]))
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return "an unknown process"


def holder_of(device: str) -> str:
    """Who holds (or last held) a lease, in words."""
    try:
        fd = _open(folder() / f"{device}.lock")
    except OSError:
        return "an unknown process"
    try:
        return _note(fd)
    finally:
        os.close(fd)


def _acquire(fd: int, who: Callable[[], str], on_wait: Callable[[str], None]) -> None:
    told = 0.0
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() - told >= TELL_S:
                on_wait(who())
                told = time.monotonic()
            time.sleep(POLL_S)


def _next(fd: int) -> Token:
    """The token after the one in the file; a file without one begins a lineage."""
    found = TOKEN.match(os.pread(fd, 128, 0))
    if found is None:
        return Token(lineage=secrets.token_hex(8), count=1)
    return Token(lineage=found[1].decode(), count=int(found[2]) + 1)


def _write(fd: int, token: Token, holder: str) -> None:
    note = {"holder": holder, "pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    line = f"{token.lineage} {token.count}\n{json.dumps(note)}\n".encode()
    # Cut to length after the writing: a holder killed between the two must not leave a file without its token.
    os.pwrite(fd, line, 0)
    os.ftruncate(fd, len(line))


@contextmanager
def lease(device: str, holder: str, on_wait: Callable[[str], None]) -> Iterator[Held]:
    """Hold the device's lock. Each holding has a token of its own, greater than all before it."""
    fd = _open(folder() / f"{device}.lock")
    try:
        _acquire(fd, lambda: _note(fd), on_wait)
        run = _open(folder() / f"{device}.run")
        try:
            _acquire(run, lambda: "a run that is coming to its end", on_wait)
        finally:
            os.close(run)
        token = _next(fd)
        _write(fd, token, holder)
        yield Held(token, fd)
    finally:
        os.close(fd)
