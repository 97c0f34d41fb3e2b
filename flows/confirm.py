"""Candidates measured again: old and new in turns where both can be had, else the new against the nights before.

Each device measures its own, side by side with the others. One rerun answers for every metric of its cells.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from flows import rerun
from flows.builds import CannotHave, with_build
from flows.lanes import never
from flows.rerun import Gone, Tell
from flows.stopping import Stopped
from quantfarm.errors import FarmError, UsageError
from quantfarm.nightly import evidence
from quantfarm.nightly.candidates import Candidate
from quantfarm.nightly.evidence import Evidence, pairs_needed
from quantfarm.nouns import Cell
from storage.home import Home
from storage.landing import Landings

#: Devices that measure again side by side.
AT_ONCE = 32
#: A rerun that failed is begun once more.
TRIES = 2
#: What comes out the same each time needs no more runs to say so.
ENOUGH = 2
#: Kinds of workload that are expected to.
REPEATABLE = frozenset({"quality"})
NOT_BACK = "what changed cannot be put back to measure both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirming:
    """`pairs`: of interleaved runs, or launches; more where so many candidates need more."""

    home: Home
    night: str
    pairs: int
    holder: str
    priority: int = 0
    stopped: Callable[[], bool] = never
    tell: Tell = field(default=lambda _: None)

    def all(self, candidates: Sequence[Candidate]) -> list[tuple[Candidate, Evidence]]:
        """Each with its evidence, in the order given. What fails is evidence too. Raises Stopped."""
        able = sum(not one.changed or one.by_build for one in candidates)
        asked = replace(self, pairs=pairs_needed(able, self.pairs))
        devices = dict.fromkeys(one.series.device for one in candidates)
        lanes = [[one for one in candidates if one.series.device == device] for device in devices]
        if not lanes:
            return []
        end = threading.Event()
        asked = replace(asked, stopped=lambda: end.is_set() or self.stopped())
        with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(lanes))) as pool:
            try:
                found = [pair for lane in pool.map(asked._lane, lanes) for pair in lane]
            except BaseException:  # who ends one ends all
                end.set()
                raise
        order = {id(candidate): place for place, candidate in enumerate(candidates)}
        return sorted(found, key=lambda pair: order[id(pair[0])])

    def _lane(self, candidates: Sequence[Candidate]) -> list[tuple[Candidate, Evidence]]:
        failed: dict[str, str] = {}  # workload of a variant -> why: one failure is said of all its metrics
        return [(one, self._one(one, failed)) for one in candidates]

    def _one(self, candidate: Candidate, failed: dict[str, str]) -> Evidence:
        if candidate.changed and not candidate.by_build:
            return Evidence(obstacle=NOT_BACK)
        subject = replace(candidate.series, metric="").id
        if subject in failed:
            return Evidence(failure=failed[subject])
        try:
            return self._measured(candidate)
        except (Gone, CannotHave) as error:
            return Evidence(obstacle=str(error))
        except Stopped:
            raise
        except FarmError as error:
            failed[subject] = str(error)
            return Evidence(failure=str(error))

    def _measured(self, candidate: Candidate) -> Evidence:
        new = self._cell(candidate.after[-1].cell, candidate.night)
        if not candidate.changed:
            return evidence.repeated(self._enough(new, lambda n: self._repeat(new, candidate, n)), candidate)
        old = self._old(candidate, new)
        pairs = self._enough(new, lambda n: self._pairs(old, new, candidate, n))
        half = len(pairs) // 2
        return evidence.interleaved(pairs[:half], pairs[half:], candidate)

    def _enough(self, cell: Cell, measure: Callable[[int], tuple[float, ...]]) -> tuple[float, ...]:
        """A few runs where they come out the same each time, all of them where they do not."""
        if cell.workload.kind in REPEATABLE:
            few = self._tried(lambda: measure(ENOUGH))
            if len(set(few[:ENOUGH])) == 1 and len(set(few[-ENOUGH:])) == 1:
                return few
        return self._tried(lambda: measure(self.pairs))

    def _tried(self, measure: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
        for left in reversed(range(TRIES)):
            try:
                return measure()
            except (Gone, Stopped):
                raise
            except FarmError as error:
                if not left:
                    raise
                self.tell(f"{error}; it is tried once more")
        raise AssertionError  # each turn returns or raises

    def _pairs(self, old: Cell, new: Cell, candidate: Candidate, pairs: int) -> tuple[float, ...]:
        found = rerun.interleaved(
            self.home,
            old,
            new,
            metric=candidate.series.metric,
            pairs=pairs,
            holder=self.holder,
            night=self.night,
            priority=self.priority,
            stopped=self.stopped,
            tell=self.tell,
        )
        return (*found.old, *found.new)

    def _repeat(self, new: Cell, candidate: Candidate, launches: int) -> tuple[float, ...]:
        return rerun.repeat(
            self.home,
            new,
            metric=candidate.series.metric,
            launches=launches,
            holder=self.holder,
            night=self.night,
            priority=self.priority,
            stopped=self.stopped,
            tell=self.tell,
        )

    def _old(self, candidate: Candidate, new: Cell) -> Cell:
        """The old cell on the device of today. Raises CannotHave for a build that it cannot be given."""
        old = self._cell(candidate.before[-1].cell, candidate.last_good)
        profile = new.profile
        if old.build != new.build:
            try:
                profile = with_build(self.home, profile, old.runtime, old.build, self.tell, self.stopped)
            except UsageError as error:
                raise CannotHave(str(error), others=False) from error
        return replace(old, profile=profile)

    def _cell(self, cell_id: str, night: str) -> Cell:
        """As it was measured for that night."""
        found = list(Landings(self.home).of(cell_id))
        of_night = [landed for landed in found if landed.night == night]
        if not found:
            raise Gone(f"cell {cell_id} of {night} is not there any more")
        return (of_night or found)[-1].cell
