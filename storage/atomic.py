"""Files that are whole or not there: temporary name in the same folder, fsync, rename or link, fsync the folder."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from quantfarm.errors import FarmError, UsageError
from storage import processes

#: No room: disk full, quota reached, file larger than its limit.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class NoRoom(FarmError):
    """There is no room to write; nothing half-written stays. Make room, and the same command goes on."""

    exit_code = 2


@contextlib.contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """Turns "no room" into a NoRoom that says where and how much is free; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise NoRoom(no_room(folder, error)) from error


def no_room(folder: Path, error: OSError) -> str:
    free = shutil.disk_usage(folder).free
    amount = f"{free / 2**30:.1f} GiB" if free >= 2**30 else f"{free / 2**20:.1f} MiB"
    return f"no room to write in {folder}: {error.strerror} ({amount} free). Make room and run it again."


def temporary(path: Path) -> Path:
    """A hidden name beside `path` that says which process it belongs to."""
    return path.with_name(f".{path.name}.{processes.mark()}.{secrets.token_hex(4)}.tmp")


def fsync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


#: Folders are synced in the same way as files: what is in them is their listing.
fsync_folder = fsync_file


def replace(temp: Path, path: Path) -> None:
    """`temp` becomes `path`, whatever was there before."""
    with room_in(path.parent):
        fsync_file(temp)
        temp.replace(path)
        fsync_folder(path.parent)


def create_exclusive(temp: Path, path: Path) -> None:
    """`temp` becomes `path` unless something is there already. Raises FileExistsError: `temp` is then left."""
    with room_in(path.parent):
        fsync_file(temp)
        os.link(temp, path)
        temp.unlink()
        fsync_folder(path.parent)


@contextlib.contextmanager
def written_beside(path: Path, data: bytes) -> Iterator[Path]:
    """A temporary file with the data beside `path`; gone at the end whatever happened."""
    temp = temporary(path)
    try:
        with room_in(path.parent):
            temp.write_bytes(data)
        yield temp
    finally:
        temp.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """The file with this content, or what was there before: never a half. Raises FarmError when there is no room."""
    with written_beside(path, data) as temp:
        replace(temp, path)


def write_once(path: Path, data: bytes) -> None:
    """As write_atomic, but never over another file. Raises FileExistsError."""
    with written_beside(path, data) as temp:
        temp.chmod(0o444)
        create_exclusive(temp, path)


def sweep_up(folder: Path) -> None:
    """Removes what killed processes left behind here under temporary names."""
    for left in folder.glob(".*.tmp"):
        if not processes.alive(left.name.split(".")[-3]):
            left.unlink(missing_ok=True)


def write_all(files: Mapping[Path, bytes]) -> None:
    """All of the files with these contents, or what was there before; folders are made where there are none.

    Everything is written beside its place first, then renamed file by file. Raises UsageError where a place cannot
    be written, FarmError when there is no room.
    """
    made: list[Path] = []
    try:
        for path in files:
            _make_room_for(path, made)
        with contextlib.ExitStack() as stack:
            temps = {path: stack.enter_context(written_beside(path, data)) for path, data in files.items()}
            for path, temp in temps.items():
                replace(temp, path)
    except BaseException:
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # something is in it
                folder.rmdir()
        raise


def _make_room_for(path: Path, made: list[Path]) -> None:
    """The folder of a file is there and can be written to; `made` is told of those that were not."""
    try:
        with room_in(path.parent):
            for folder in reversed([one for one in path.parents if not one.exists()]):
                folder.mkdir()
                made.append(folder)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}. Choose another folder.") from error
    if not path.parent.is_dir() or path.is_dir() or not os.access(path.parent, os.W_OK):
        why = (
            "there is a folder of that name" if path.is_dir() else f"{path.parent} is no folder that can be written to"
        )
        raise UsageError(f"cannot write {path}: {why}. Choose another folder.")
