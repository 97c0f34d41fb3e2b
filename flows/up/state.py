"""HOME/up: who runs the farm here, and how its parts are.

lock         held (flock) by the `quantfarm up` of this home; the kernel frees it when that dies
state.json   its parts with their pids, the self-checks, the sweeps gone on with; written anew every few seconds
*.log        what the parts said
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quantfarm.errors import UsageError
from storage import atomic, processes
from storage.home import Home

SCHEMA = 1


def folder(home: Home) -> Path:
    return home.folder("up")


def path(home: Home) -> Path:
    return home.root / "up" / "state.json"


def read(home: Home) -> dict[str, Any] | None:
    """The last state that was written; None where there is none or it cannot be read."""
    try:
        found = json.loads(path(home).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("schema") == SCHEMA else None


def write(home: Home, body: dict[str, Any]) -> None:
    """Raises FarmError when there is no room."""
    atomic.write_atomic(folder(home) / "state.json", json.dumps({"schema": SCHEMA, **body}).encode() + b"\n")


def runs(found: dict[str, Any] | None) -> bool:
    """Whether the `quantfarm up` that wrote this state is alive."""
    return bool(found) and processes.alive(str(found.get("mark") or "0-0"))


def url(home: Home, part: str) -> str:
    """Where a part of the running farm is; empty where `quantfarm up` does not run, or runs no such part."""
    found = read(home)
    parts = (found or {}).get("parts") or [] if runs(found) else []
    return next((str(one.get("url") or "") for one in parts if one.get("name") == part), "")


def api(home: Home) -> str:
    """The API of the running farm's server; empty where none runs."""
    page = url(home, "server")
    return page and f"{page.removesuffix('/')}/api"


@contextmanager
def only_one(home: Home) -> Iterator[None]:
    """Holds the home's lock. Raises UsageError where another `quantfarm up` has it: which."""
    with (folder(home) / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(_busy(home)) from error
        yield


def _busy(home: Home) -> str:
    found = read(home) or {}
    who = f"process {found['pid']}, since {found['since']}" if runs(found) else "another process, which is starting"
    return (
        f"`quantfarm up` runs for {home.root} already ({who}): `quantfarm up --status` tells how it is; Ctrl-C where "
        "it runs, or the signal TERM, ends it"
    )
