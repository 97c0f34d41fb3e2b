"""What was asked, and how it ended: the files of each sweep in HOME/sweeps.

ID.json   the request, the plan's cells and skips: written when the sweep begins, never changed
ID.lock   locked (flock) by the process that carries it out, and freed by the kernel when that dies;
          a line for each time it was begun
ID.end    how it ended: done, stopped (a person asked), failed or refused. None of these: it was cut off
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from quantfarm.errors import FarmError, UsageError, unknown
from quantfarm.nouns import Plan, Skip
from storage import atomic
from storage.home import Home
from storage.names import parse_stem

#: 2: sweeps have a lock and an end; how one of schema 1 ended is not known.
SCHEMA = 2
STATES = ("done", "stopped", "failed", "refused")
#: A look at the lock takes a moment; who begins waits that out.
PATIENCE_S = 2.0


class Busy(FarmError):
    """The sweep is being carried out by another process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """`finished`: how many of its cells have landed since it began; `alive`: a process carries it out now;
    `went_on`: how often it was begun again; `state`: how it ended last, empty where it was cut off."""

    sweep: str
    model: str
    request: Mapping[str, Any]
    cells: tuple[str, ...]
    finished: int
    began_at: str
    alive: bool
    went_on: int
    state: str = ""


def record(home: Home, sweep_id: str, model: str, request: Mapping[str, Any], plan: Plan, run: str = "") -> None:
    """`run`: id of Prefect's flow run that begins it. Raises FarmError when there is no room."""
    body = {
        "schema": SCHEMA,
        "sweep": sweep_id,
        "run": run,
        "model": model,
        "request": dict(request),
        "began_at": _now(),
        "cells": [cell.id for cell in plan.cells],
        "skips": [asdict(skip) for skip in plan.skips],
    }
    _write(home.sweeps / f"{sweep_id}.json", body)


@contextlib.contextmanager
def running(home: Home, sweep_id: str) -> Iterator[None]:
    """Holds the sweep's lock: while somebody does, it is alive. Raises Busy where another process has it."""
    with (home.sweeps / f"{sweep_id}.lock").open("a+") as file:
        _take(file, sweep_id)
        file.write(json.dumps({"pid": os.getpid(), "at": _now()}) + "\n")
        file.flush()
        _end(home, sweep_id).unlink(missing_ok=True)
        yield


def finish(home: Home, sweep_id: str, state: str, counts: Mapping[str, Any] | None = None) -> None:
    """How it ended; one that has no end was cut off. Raises FarmError when there is no room."""
    assert state in STATES, state
    _write(_end(home, sweep_id), {"schema": SCHEMA, "state": state, "counts": dict(counts or {}), "at": _now()})


def unfinished(home: Home, *, ended: bool = False) -> list[Unfinished]:
    """Sweeps that were cut off or are being carried out, in the order they began.

    `ended`: also those that a person stopped and those that failed. Files that are no whole record of a sweep
    are passed over: nothing can be gone on with there.
    """
    landed = landed_at(home)
    found = (_read(home, path, landed) for path in sorted(_files(home)))
    states = ("", "stopped", "failed") if ended else ("",)
    return [one for one in found if one and one.state in states]


def carried_out_by(home: Home, pid: int) -> list[str]:
    """The sweeps that this process carries out now."""
    found = [one.sweep for one in unfinished(home) if one.alive]
    return [one for one in found if _last_holder(home, one) == pid]


def begun_by(home: Home) -> set[str]:
    """Ids of the flow runs that wrote their sweep down."""
    found: set[str] = set()
    for path in _files(home):
        with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
            found.add(str(json.loads(path.read_bytes()).get("run") or ""))
    return found - {""}


def find(home: Home, sweep_id: str) -> Unfinished:
    """A sweep that can be gone on with. Raises UsageError for an unknown one and one that is done."""
    path = home.root / "sweeps" / f"{sweep_id}.json"
    one = _read(home, path, landed_at(home)) if path in _files(home) else None
    if one is None:
        raise unknown("sweep", sweep_id, (one.sweep for one in unfinished(home, ended=True)))
    if one.state == "done":
        raise UsageError(f"sweep {sweep_id} is done; what it measured is there (`quantfarm results`)")
    return one


def skips(home: Home) -> list[Skip]:
    """What the latest sweep of each model skipped; sweep ids sort by time."""
    latest: dict[str, list[Skip]] = {}
    for path in sorted(_files(home)):
        try:
            body = json.loads(path.read_bytes())
            latest[body["model"]] = [Skip(**skip) for skip in body["skips"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # a record is a convenience: results do not depend on it
    return [skip for found in latest.values() for skip in found]


def _files(home: Home) -> list[Path]:
    return list((home.root / "sweeps").glob("*.json"))  # not made: a look changes nothing


def _read(home: Home, path: Path, landed: Mapping[str, float]) -> Unfinished | None:
    try:
        body = json.loads(path.read_bytes())
        if body["schema"] != SCHEMA or body["sweep"] != path.stem:
            return None
        cells, request = tuple(str(cell) for cell in body["cells"]), dict(body["request"])
        return Unfinished(
            sweep=path.stem,
            model=str(body["model"]),
            request=request,
            cells=cells,
            finished=_finished(cells, request, str(body["began_at"]), landed),
            began_at=str(body["began_at"]),
            alive=_alive(home, path.stem),
            went_on=max(0, _begun(home, path.stem) - 1),
            state=_state(home, path.stem),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _finished(cells: Sequence[str], request: Mapping[str, Any], began_at: str, landed: Mapping[str, float]) -> int:
    """How many have landed, at all or, where the request asks for new attempts, since it began."""
    anew = request.get("fresh") or request.get("night")
    since = datetime.fromisoformat(began_at).timestamp() - 1 if anew else 0.0
    return sum(cell in landed and landed[cell] >= since for cell in cells)


def landed_at(home: Home) -> dict[str, float]:
    """Cell id -> when its last attempt landed: by the files' names and times, none is read."""
    found: dict[str, float] = {}
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(home.root / "cells") as entries:
        for entry in entries:
            if entry.name.endswith(".json") and (key := parse_stem(entry.name.removesuffix(".json"))):
                found[key[0]] = max(found.get(key[0], 0.0), entry.stat().st_mtime)
    return found


def _end(home: Home, sweep_id: str) -> Path:
    return home.root / "sweeps" / f"{sweep_id}.end"


def _state(home: Home, sweep_id: str) -> str:
    """How it ended; empty where there is no whole end."""
    try:
        return str(json.loads(_end(home, sweep_id).read_bytes())["state"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _begun(home: Home, sweep_id: str) -> int:
    try:
        return (home.root / "sweeps" / f"{sweep_id}.lock").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _last_holder(home: Home, sweep_id: str) -> int:
    try:
        return int(json.loads((home.root / "sweeps" / f"{sweep_id}.lock").read_bytes().splitlines()[-1])["pid"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return 0


def _alive(home: Home, sweep_id: str) -> bool:
    try:
        with (home.root / "sweeps" / f"{sweep_id}.lock").open() as file:
            return not _try(file, fcntl.LOCK_SH)  # two who look do not hinder each other
    except FileNotFoundError:
        return False


def _take(file: IO[str], sweep_id: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not _try(file, fcntl.LOCK_EX):
        if time.monotonic() >= until:
            raise Busy(f"sweep {sweep_id} is being carried out by another process already")
        time.sleep(0.05)


def _try(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _write(path: Path, body: Mapping[str, Any]) -> None:
    atomic.write_atomic(path, (json.dumps(body, ensure_ascii=False) + "\n").encode())
