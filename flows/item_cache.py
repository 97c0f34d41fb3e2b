"""Items of a task that a killed run had scored already: the next attempt goes on behind them.

A file in the home by artifact, runtime build, requests and every parameter that changes an answer. Items are
appended as they come and belong to nobody else; with the run's own good end the file goes, so that what is
measured afresh is measured whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from quantfarm.nouns import digest
from storage.home import Home

if TYPE_CHECKING:
    from flows.execute import Job

#: What changes how fast an answer comes, and not the answer.
UNIMPORTANT = frozenset({"threads"})


def path(home: Home, job: Job) -> Path:
    cell = job.cell
    settings = {key: value for key, value in cell.workload.settings.items() if key not in UNIMPORTANT}
    # A device's own, though the answer is not: two devices may answer at the same time.
    asked = [job.artifact.sha256, cell.runtime, cell.build, cell.workload.kind, settings, cell.profile.name]
    return home.root / "tasks" / "answered" / f"{digest(asked)}.jsonl"


def files(home: Home, job: Job) -> Mapping[str, Path]:
    """{"answered": file} where an earlier run of the same question left items; else nothing."""
    if job.cell.workload.kind != "tasks":
        return {}
    found = path(home, job)
    return {"answered": found} if found.exists() and found.stat().st_size else {}


def writer(home: Home, job: Job) -> Callable[[str], None]:
    """To be given each line of the run's output, as it comes."""
    if job.cell.workload.kind != "tasks":
        return _nothing
    home.folder("tasks", "answered")
    return Writer(path(home, job))


def _nothing(line: str) -> None:
    """Other kinds hold no items."""
    del line


class Writer:
    """Appends new items; an item is one write, so that a kill leaves whole lines (a torn one is passed over)."""

    def __init__(self, file: Path) -> None:
        self._path = file
        self._torn = file.exists() and not file.read_bytes().endswith(b"\n")

    def __call__(self, line: str) -> None:
        # What an event is, is in the first of its fields: a look, not a parse, for the thousands of others.
        head = line[:40]
        if '"event": "item"' in head:
            self._item(line)
        elif '"event": "end"' in head:
            self._end(line)

    def _item(self, line: str) -> None:
        try:
            if json.loads(line).get("cached"):
                return
        except (ValueError, AttributeError):
            return
        with self._path.open("ab", buffering=0) as file:
            file.write((b"\n" if self._torn else b"") + line.rstrip("\r\n").encode() + b"\n")
        self._torn = False

    def _end(self, line: str) -> None:
        try:
            good = json.loads(line).get("ok") is True
        except (ValueError, AttributeError):
            return
        if good:
            self._path.unlink(missing_ok=True)
