"""Published versions: whole copies of the database that never change, and the pointer to the newest."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from quantfarm.errors import FarmError
from storage import atomic
from storage.home import Home

KEPT = 5

#: Copies a file in a process of its own and writes it through to the disk: opening or closing a
#: database file in the process that writes it would drop that process's lock on it.
COPY = "import os, shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2]); os.fsync(os.open(sys.argv[2], os.O_RDONLY))"


@dataclass(frozen=True, slots=True)
class Published:
    version: int
    path: Path


def file_name(version: int) -> str:
    return f"farm-{version:06d}.duckdb"


def current(home: Home) -> Published | None:
    """The newest published version, None before the first."""
    folder = home.root / "db"  # not made: a look changes nothing
    try:
        name = (folder / "CURRENT").read_text().strip()
        return Published(int(name.removeprefix("farm-").removesuffix(".duckdb")), folder / name)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def publish(home: Home, working: Path, version: int) -> Path:
    """Publishes a checkpointed, closed database. Raises FarmError when there is no room."""
    path = home.db / file_name(version)
    temp = atomic.temporary(path)
    try:
        _copy(working, temp)
        atomic.replace(temp, path)
    finally:
        temp.unlink(missing_ok=True)
    atomic.write_atomic(home.db / "CURRENT", (path.name + "\n").encode())
    _prune(home, version)
    return path


def _copy(source: Path, target: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", COPY, str(source), str(target)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise FarmError(f"cannot publish the database in {target.parent}: {said[0]}")


def _prune(home: Home, newest: int) -> None:
    """Keeps the last versions: a reader that has one open keeps it anyway."""
    for path in home.db.glob("farm-*.duckdb"):
        number = path.stem.removeprefix("farm-")
        if number.isdecimal() and int(number) <= newest - KEPT:
            path.unlink(missing_ok=True)
