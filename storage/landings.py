"""What has landed: who asks for one cell, and who asks for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quantfarm import codec
from quantfarm.nouns import Landed, State
from storage.home import Home
from storage.landed_index import index_of
from storage.names import cell_path, parse_stem

#: So many contents are kept for those who ask twice; a farm has more than should be held in memory.
KEPT = 256


class Landings:
    """Which attempts of which cells have landed, by the names of their files; contents are read when asked for.

    `problems` are the files that were asked for and could not be used: name -> why.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.problems: dict[str, str] = {}
        self._read: dict[tuple[str, int], Landed | None] = {}
        self._index = index_of(home.root / "cells")

    def finished(self, cell_id: str, night: str = "") -> bool:
        """Whether some attempt is ok; one of this night where a night is named.

        Newest first, and not back beyond an earlier night: a cell that is watched has an attempt for each.
        """
        for attempt in reversed(self._index.of(cell_id)):
            landed = self.get(cell_id, attempt)
            if landed and landed.outcome.state is State.OK and night in ("", landed.night):
                return True
            if landed and "" < landed.night < night:
                return False
        return False

    def latest(self, cell_id: str) -> Landed | None:
        """The latest ok attempt, else the latest attempt, None where none has landed."""
        found = list(self._of(cell_id))
        good = [landed for landed in found if landed.outcome.state is State.OK]
        return max(good or found, key=lambda landed: landed.attempt, default=None)

    def last(self, cell_id: str) -> Landed | None:
        """The latest attempt, however it ended; None where none has landed or it cannot be read."""
        attempts = self._index.of(cell_id)
        return self.get(cell_id, attempts[-1]) if attempts else None

    def next_attempt(self, cell_id: str) -> int:
        """One more than every attempt that has landed, readable or not."""
        return max(self._index.of(cell_id), default=0) + 1

    def keys(self) -> set[tuple[str, int]]:
        """(cell id, attempt) of every landed file."""
        return {(cell_id, attempt) for cell_id, attempts in self._index.all().items() for attempt in attempts}

    def all(self) -> Iterator[Landed]:
        """Every readable landed attempt, in the order of their names; see `problems` for the others."""
        for key in sorted(self.keys()):
            if (landed := self.get(*key)) is not None:
                yield landed

    def get(self, cell_id: str, attempt: int) -> Landed | None:
        """One attempt, None where it has not landed or (with an entry in `problems`) its file cannot be used."""
        key = (cell_id, attempt)
        if key not in self._read:
            path = cell_path(self.home, cell_id, attempt)
            while len(self._read) >= KEPT:
                del self._read[next(iter(self._read))]
            try:
                self._read[key] = read_landed(path)
            except FileNotFoundError:
                return None
            except (OSError, ValueError) as error:
                self.problems[path.name] = str(error)
                self._read[key] = None
        return self._read[key]

    def of(self, cell_id: str) -> Iterator[Landed]:
        """Every readable attempt of a cell, in order."""
        return self._of(cell_id)

    def _of(self, cell_id: str) -> Iterator[Landed]:
        for attempt in self._index.of(cell_id):
            if (landed := self.get(cell_id, attempt)) is not None:
                yield landed


def read_landed(path: Path) -> Landed:
    """The landed cell in a file. Raises OSError, ValueError: not one, too new, or not the cell its name says."""
    landed = codec.load_landed(path.read_bytes())
    check_name(path, landed)
    return landed


def check_name(path: Path, landed: Landed) -> None:
    """Raises ValueError where a file holds another cell than its name says."""
    inside = (landed.cell.id, landed.attempt)
    if parse_stem(path.stem) != inside:
        raise ValueError(f"the file's name and what is in it disagree: it holds attempt {inside[1]} of {inside[0]}")
