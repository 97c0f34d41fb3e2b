"""Which attempts of which cells have landed, by the names of their files: one index for all who ask in a process.

A farm of 20,000 cells lands tens of files a second, and each of its lanes asks after each cell. A small folder is
read again whenever it has changed. A large one is read again only as often as that costs little; between two
readings, the attempts that follow those known are looked for by their names, so what lands in order (all that
lands does, unless files were taken away by hand) is seen at once in folders of any size.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from storage.names import file_stem, parse_stem

#: A folder's time stamp is trusted when it is older than this: two changes may share one tick of the clock.
TICK_NS = 100_000_000
#: Up to so many files a folder is read whenever it has changed.
SMALL = 1000
#: Reading a larger one may take one part in so many of the time.
SPARING = 50

Attempts = Mapping[str, tuple[int, ...]]


class LandedIndex:
    """The landed attempts of one folder of cells, from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._attempts: dict[str, tuple[int, ...]] = {}
        self._seen = 0  # the folder's time stamp when it was read, 0 where that cannot be trusted
        self._files = 0
        self._rested_at = 0.0  # monotonic seconds: reading it again costs little from then on

    def of(self, cell_id: str) -> tuple[int, ...]:
        """Attempts of one cell, ascending."""
        with self._lock:
            if self._files < SMALL or time.monotonic() >= self._rested_at:
                self._read()
            return self._and_following(cell_id)

    def all(self) -> Attempts:
        """Attempts of every cell, as the folder is now."""
        with self._lock:
            self._read()
            return dict(self._attempts)

    def _and_following(self, cell_id: str) -> tuple[int, ...]:
        known = self._attempts.get(cell_id, ())
        following = max(known, default=0) + 1
        while (self._folder / f"{file_stem(cell_id, following)}.json").exists():
            known = self._attempts[cell_id] = (*known, following)
            following += 1
        return known

    def _read(self) -> None:
        try:  # not made: a look changes nothing
            seen = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            self._attempts, self._files, self._seen = {}, 0, 0
            return
        if seen == self._seen:
            return
        now, began = time.time_ns(), time.monotonic()
        self._attempts, self._files = scan(self._folder)
        # From a clock that was set back, a time stamp may lie in the future: not trusted either.
        self._seen = seen if now - seen > TICK_NS else 0
        self._rested_at = time.monotonic() + SPARING * (time.monotonic() - began)


def scan(folder: Path) -> tuple[dict[str, tuple[int, ...]], int]:
    """Attempts by cell, and the number of landed files."""
    found: dict[str, tuple[int, ...]] = {}
    files = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".json") and (key := parse_stem(entry.name[:-5])):
                found[key[0]] = tuple(sorted((*found.get(key[0], ()), key[1])))
                files += 1
    return found, files


_indexes: dict[Path, LandedIndex] = {}


def index_of(folder: Path) -> LandedIndex:
    return _indexes.setdefault(folder, LandedIndex(folder))
