"""Bisections, finished and begun: `bisects/<id>.json`, written anew after each step. One process works on one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantfarm.bisection import record
from quantfarm.bisection.record import Record
from quantfarm.errors import FarmError, UsageError
from storage import atomic
from storage.home import Home

FOLDER = "bisects"


def path(home: Home, ident: str) -> Path:
    return home.root / FOLDER / f"{ident}.json"


def read(home: Home, ident: str) -> Record | None:
    """None where there is none. Raises FarmError for one that cannot be read."""
    at = path(home, ident)
    try:
        return record.load(at.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FarmError(f"the bisection {at} cannot be read: {error}. Remove it to begin anew.") from error


def keep(home: Home, found: Record) -> None:
    """Raises FarmError when there is no room."""
    home.folder(FOLDER)
    atomic.write_atomic(path(home, found.question.id), record.dump(found))


@contextmanager
def alone(home: Home, ident: str) -> Iterator[None]:
    """Raises UsageError where another process works on it."""
    at = home.folder(FOLDER) / f"{ident}.lock"
    fd = os.open(at, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(fd)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(fd)


def _take(fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        who = os.pread(fd, 32, 0).decode(errors="replace") or "another process"
        raise UsageError(f"this bisection is being worked on by process {who}: wait for it") from error
