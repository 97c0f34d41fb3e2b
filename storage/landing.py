"""Landing: a finished cell becomes two immutable files, its trace and then the cell itself.

The cell file is the mark of a whole landing: a trace without one belongs to a landing that was killed,
which the trace's other name in `.partial` tells (both are one file), and is swept up.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace as replaced
from pathlib import Path
from types import TracebackType

from quantfarm import codec
from quantfarm.errors import FarmError
from quantfarm.nouns import Landed
from storage import atomic, processes
from storage.home import Home
from storage.landings import Landings
from storage.names import cell_path, file_stem, trace_path

__all__ = ["AlreadyLanded", "Landings", "TraceWriter", "describe_trace", "land", "sweep_up"]


class AlreadyLanded(FarmError):
    """Someone landed this attempt first; what is there stays."""


class TraceWriter:
    """Writes a trace's lines as they come, each flushed, under a name that no reader takes for a trace.

    `with TraceWriter(home, cell.id, attempt) as trace: trace.write(line)`, then `land(home, landed, trace.path)`.
    """

    def __init__(self, home: Home, cell_id: str, attempt: int) -> None:
        sweep_up(home)
        self.path = home.partial_traces / f"{file_stem(cell_id, attempt)}.{processes.mark()}.jsonl"

    def __enter__(self) -> TraceWriter:
        self.path.unlink(missing_ok=True)  # never truncate: it may be the other name of a landed trace
        self._file = self.path.open("xb", buffering=0)
        return self

    def write(self, line: str) -> None:
        """One line, with or without its newline. Raises FarmError when there is no room: nothing stays then."""
        data = line.rstrip("\r\n").encode("utf-8", "surrogateescape") + b"\n"
        try:
            with atomic.room_in(self.path.parent):
                while data:
                    data = data[self._file.write(data) :]
        except FarmError:
            self.discard()
            raise

    def discard(self) -> None:
        """Throws the trace away."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


def sweep_up(home: Home) -> None:
    """Removes traces that dead processes were writing, and those whose landing was killed before the cell's file."""
    alive: dict[str, bool] = {}  # of many lanes, all of one process
    for left in home.partial_traces.glob("*.jsonl"):
        stem, _, mark = left.stem.rpartition(".")
        if mark not in alive:
            alive[mark] = processes.alive(mark)
        if not alive[mark]:
            _remove_half_landed(home, stem, left)
            left.unlink(missing_ok=True)


def _remove_half_landed(home: Home, stem: str, left: Path) -> None:
    trace = home.traces / f"{stem}.jsonl"
    if trace.exists() and left.exists() and trace.samefile(left) and not (home.cells / f"{stem}.json").exists():
        trace.unlink()


def describe_trace(trace: Path) -> dict[str, int | str]:
    """What the cell's conditions say of its trace: `sha256` and `size` in bytes."""
    with trace.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": sha256, "size": trace.stat().st_size}


def land(home: Home, landed: Landed, trace: Path | None) -> Path:
    """Lands a run for good: the trace first, then the cell, whose conditions get the trace's sha256 and size.

    The file at `trace` is moved. `trace` is None for a cell that failed before anything ran.
    Raises AlreadyLanded (the first one stays) and FarmError when there is no room (nothing stays).
    """
    cell, attempt = landed.cell, landed.attempt
    if trace is not None:
        landed = replaced(landed, conditions={**landed.conditions, "trace": describe_trace(trace)})
        _link(trace, trace_path(home, cell.id, attempt))
    try:
        path = _land_cell(home, landed)
    except BaseException as error:
        there = cell_path(home, cell.id, attempt).exists()
        if trace is not None and (isinstance(error, AlreadyLanded) or not there):
            trace_path(home, cell.id, attempt).unlink(missing_ok=True)
        raise
    if trace is not None:
        trace.unlink()
    return path


def _land_cell(home: Home, landed: Landed) -> Path:
    path = cell_path(home, landed.cell.id, landed.attempt)
    try:
        atomic.write_once(path, codec.dump_landed(landed))
    except FileExistsError as error:
        raise AlreadyLanded(f"attempt {landed.attempt} of {landed.cell.label} has landed already: {path}") from error
    return path


def _link(trace: Path, path: Path) -> None:
    """Gives the trace its final name as well; the old one goes when the cell is there."""
    try:
        with atomic.room_in(path.parent):
            atomic.fsync_file(trace)
            os.link(trace, path)
            atomic.fsync_folder(path.parent)
    except FileExistsError as error:
        raise AlreadyLanded(f"a trace has landed already: {path}") from error
