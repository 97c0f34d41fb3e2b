"""The cache folder: what can be made again. Locks, whole folders, free room."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

from quantfarm.errors import FarmError

#: No room: disk full, quota reached, file larger than its limit.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
POLL_S = 0.5


def root() -> Path:
    """QUANTFARM_CACHE, else `quantfarm` in the user's cache folder of this platform."""
    if given := os.environ.get("QUANTFARM_CACHE"):
        return Path(given).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "quantfarm"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quantfarm"


def folder(*names: str) -> Path:
    """A folder of the cache, made when absent. Raises FarmError where it cannot be made."""
    path = root().joinpath(*names)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FarmError(f"cannot make the folder {path}: {error.strerror} (set QUANTFARM_CACHE)") from error
    return path


def need_room(where: Path, mib: int, what: str) -> None:
    """Raises FarmError when less than `mib` MiB are free."""
    free = shutil.disk_usage(where).free // 2**20
    if free < mib:
        raise FarmError(
            f"{what} needs about {mib} MiB in {where}, and {free} MiB are free: make room or set QUANTFARM_CACHE"
        )


@contextlib.contextmanager
def writing(where: Path) -> Generator[None]:
    """Turns a full or read-only disk into a FarmError that says where; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM | {errno.EACCES, errno.EROFS}:
            raise
        free = shutil.disk_usage(where).free / 2**20
        raise FarmError(
            f"cannot write in {where}: {error.strerror} ({free:.0f} MiB free). Make room or set QUANTFARM_CACHE"
        ) from error


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[str], None]) -> Generator[int]:
    """Holds the lock file; tells `on_wait` once for whom it waits.

    Yields its file descriptor: a child that inherits it keeps the lock, so that what a killed
    program left running still counts as running.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(descriptor, path, on_wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, on_wait: Callable[[str], None]) -> None:
    told = False
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace") or "?"
                on_wait(f"waiting for process {holder}, which holds {path}")
                told = True
            time.sleep(POLL_S)


@contextlib.contextmanager
def whole_folder(path: Path) -> Generator[Path]:
    """A new folder to fill; it gets its name only when the block ends well. For one that holds the lock.

    What killed programs left behind for the same name is removed first.
    """
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with writing(path.parent):
        temporary.mkdir()
    try:
        with writing(path.parent):
            yield temporary
            os.sync()  # once for thousands of files
            if path.exists():
                shutil.rmtree(path)
            temporary.rename(path)
            fsync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def fsync(path: Path) -> None:
    """A file's content, or a folder's listing, safely on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """The file with this content, or what was there before. Raises FarmError when there is no room."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with writing(path.parent):
            temporary.write_bytes(data)
            fsync(temporary)
            temporary.replace(path)
            fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
