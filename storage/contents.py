"""What an artifact is on disk: one file, or a folder of them, by one sha256 and one size."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from quantfarm.models import folder as folders
from storage.hashes import sha256_of


def files(path: Path) -> list[Path]:
    """The files of an artifact that count: what a device is sent."""
    return folders.files(path) if path.is_dir() else [path]


def size(path: Path) -> int:
    """Bytes. Raises OSError."""
    return sum(file.stat().st_size for file in files(path)) if path.is_dir() else path.stat().st_size


def sha256(path: Path, of: Callable[[Path], str] = sha256_of) -> str:
    """Of a file its content; of a folder its listing (quantfarm.models.folder.listing). Raises OSError."""
    return folders.listing(path, of) if path.is_dir() else of(path)


def named(path: Path, name: str) -> dict[str, Path]:
    """As a command knows it: `name`, or `name/<file>` for each file of a folder."""
    return {f"{name}/{file.name}": file for file in files(path)} if path.is_dir() else {name: path}


def fsync(path: Path) -> None:
    """A folder and its files are on disk. Raises OSError."""
    for each in [*path.iterdir(), path]:
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Whatever it is, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def protect(path: Path) -> None:
    """Nobody writes to what is stored."""
    for file in files(path):
        file.chmod(0o444)
