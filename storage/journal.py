"""Rows that are only ever added: one JSON object a line, each written through to the disk.

A line counts when its newline is there. What a killed process left behind the last newline is passed
over by readers and taken away by the next writer.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quantfarm.errors import FarmError
from storage import atomic

SCHEMA = 1


class Damaged(FarmError):
    """A row that cannot be read. What follows from it is not known until somebody has looked."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock; the kernel frees it when its holder dies."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Adds a row; the caller holds the lock. Raises NoRoom: the row is then not there."""
    line = (json.dumps({"schema": SCHEMA, **row}, ensure_ascii=True, sort_keys=True) + "\n").encode()
    new = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with atomic.room_in(path.parent):
            _write(fd, _end_of_last_line(fd), line)
            os.fsync(fd)
    finally:
        os.close(fd)
    if new:
        atomic.fsync_folder(path.parent)


def _write(fd: int, at: int, line: bytes) -> None:
    """The whole line behind the last whole one, or nothing."""
    try:
        os.ftruncate(fd, at)
        done = 0
        while done < len(line):
            done += os.pwrite(fd, line[done:], at + done)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, at)
        raise


def _end_of_last_line(fd: int, step: int = 65536) -> int:
    end = os.fstat(fd).st_size
    while end > 0:
        begin = max(0, end - step)
        found = os.pread(fd, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")[:-1]  # behind the last newline: nothing, or a torn line
    except (FileNotFoundError, NotADirectoryError):
        return []


def read(path: Path) -> list[dict[str, Any]]:
    """Every row in order. Raises Damaged naming the line that is none."""
    return [_row(path, number, line) for number, line in enumerate(_lines(path), 1)]


def last(path: Path) -> dict[str, Any] | None:
    """The last row alone."""
    lines = _lines(path)
    return _row(path, len(lines), lines[-1]) if lines else None


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
        schema = row.pop("schema")
        if not isinstance(schema, int) or schema > SCHEMA:
            raise ValueError(f"schema {schema} is newer than this program knows ({SCHEMA}): upgrade quantfarm")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Damaged(f"line {number} of {path} cannot be read: {error}. Mend or remove that line.") from error
    return row
