"""Opening DuckDB files with bounded resources and no reach beyond the machine."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import duckdb

from quantfarm.errors import FarmError
from storage.atomic import NoRoom

#: Devices may measure on this machine meanwhile: the database takes little of it.
SETTINGS: dict[str, Any] = {
    "threads": min(4, os.cpu_count() or 1),
    "memory_limit": "1GB",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}
POLL_S = 0.05


def open_writer(path: Path, wait_s: float = 0.0) -> duckdb.DuckDBPyConnection:
    """Reads files besides its own (the traces). Raises FarmError naming whoever holds it after `wait_s` seconds."""
    settings = SETTINGS | {"temp_directory": str(path.parent / ".spill"), "preserve_insertion_order": False}
    return _opened(path, settings, read_only=False, wait_s=wait_s)


def open_reader(path: Path, wait_s: float = 0.0) -> duckdb.DuckDBPyConnection:
    """Read-only, and no query on it can reach another file."""
    settings = SETTINGS | {"enable_external_access": False, "lock_configuration": True}
    return _opened(path, settings, read_only=True, wait_s=wait_s)


def _opened(path: Path, settings: dict[str, Any], *, read_only: bool, wait_s: float) -> duckdb.DuckDBPyConnection:
    until = time.monotonic() + wait_s
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only, config=settings)
        except duckdb.IOException as error:
            if "No space left" in str(error):
                raise NoRoom(f"no room to write in {path.parent}: {_line(error)}. Make room. {REMEDY}") from error
            if "lock" not in str(error).lower():
                raise FarmError(f"cannot open the database {path}: {_line(error)}. {REMEDY}") from error
            if time.monotonic() >= until:
                raise FarmError(f"the database {path} is held by {holder(str(error))}: close it there") from error
        except duckdb.Error as error:
            raise FarmError(f"cannot open the database {path}: {_line(error)}. {REMEDY}") from error
        time.sleep(POLL_S)


REMEDY = "The results are safe in their files: run `quantfarm db rebuild`"


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]


def holder(message: str) -> str:
    """Who has the file open, from DuckDB's own message: `Conflicting lock is held in /usr/bin/duckdb (PID 12)`."""
    found = re.search(r"held in (.+?) \(PID (\d+)\)", message)
    return f"{found[1]} (process {found[2]})" if found else "another program"


def quoted(text: str) -> str:
    """A string literal of SQL, where a parameter cannot stand."""
    return "'" + text.replace("'", "''") + "'"
