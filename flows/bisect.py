"""Which version of a runtime made a series worse: builds made as they are needed, measured in turns with the good one.

What is known is kept after each step (storage/bisects.py), so that a search that was cut off goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from flows.bisect_question import Asked, Subject, subject
from flows.bisect_runs import Fails, check_alike, in_turns
from flows.build_time import Took, minutes
from flows.builds import CannotHave, with_build
from flows.lanes import never
from flows.steps import Teller
from quantfarm.bisection.ratios import Measured, Ratio, Says
from quantfarm.bisection.record import Record
from quantfarm.errors import FarmError
from quantfarm.nouns import Cell, DeviceProfile
from quantfarm.toolchain import releases
from quantfarm.toolchain.news import Step
from storage import bisects
from storage.home import Home

__all__ = ["Asked", "bisect", "subject"]


def bisect(home: Home, what: Subject, told: Teller, stopped: Callable[[], bool] = never, fresh: bool = False) -> Record:
    """Searches, or goes on with a search that was cut off, or tells what a finished one found.

    Raises CannotHave where the good or the bad version, or any at all, cannot be had; AgentError, Stopped and other
    FarmErrors where it cannot go on now: the same again does.
    """
    with bisects.alone(home, what.question.id):
        record = None if fresh else bisects.read(home, what.question.id)
        if record is None:
            record = _begin(what, told)
            bisects.keep(home, record)
        work = _Work(home, what, record, told, stopped)
        if not record.finished_at:
            work.all()
            record.finished_at = _now()
            bisects.keep(home, record)
        return record


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _begin(what: Subject, told: Teller) -> Record:
    asked = what.question

    def tell(step: Step) -> None:
        told.step(step.note or step.what)

    known = releases.released(asked.package, tell)
    path = releases.between(known, asked.good, asked.bad, asked.package)
    dates = {one.version: one.date for one in path if one.date}
    return Record(question=asked, began_at=_now(), versions=tuple(one.version for one in path), dates=dates)


@dataclass(slots=True)
class _Work:
    home: Home
    what: Subject
    record: Record
    told: Teller
    stopped: Callable[[], bool]
    profiles: dict[tuple[str, bool], DeviceProfile] = field(default_factory=dict[tuple[str, bool], DeviceProfile])

    def all(self) -> None:
        """Until the end is known."""
        asked, record = self.what.question, self.record
        count = len(record.versions) - 1
        self.told.found(f"{asked.package} {asked.good} → {asked.bad}: {count} {'step' if count == 1 else 'steps'}")
        if record.end() is None:
            self._profile(asked.good, own=True)  # beside which all others are measured: else nothing can be said
        while record.end() is None:
            with self._timed():
                if record.ends() is None:
                    self._ends()
                elif version := record.search().next():
                    self._version(version)
                else:
                    self._anew()
            bisects.keep(self.home, record)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.record.seconds = round(self.record.seconds + time.monotonic() - began, 1)

    def _ends(self) -> None:
        """The bad one against the good: both must be had."""
        bad = self.what.question.bad
        measured = self.record.measured.setdefault(bad, Measured())
        try:
            self._measure(bad, measured)
        except Fails as error:
            raise FarmError(f"{self.what.build(bad)} cannot be measured: {error}") from error
        check_alike(self.home, self._cell(self.what.question.good), self._cell(bad))
        said = self.record.ends()
        self._tell(bad, measured.ratio, said or Says.UNDECIDED)

    def _version(self, version: str) -> None:
        """One between them; one that cannot be had or measured is stepped over."""
        measured = self.record.measured.setdefault(version, Measured())
        try:
            self._measure(version, measured)
        except CannotHave as error:
            if not error.others:
                raise
            measured.problem = str(error)
        except Fails as error:
            measured.problem = str(error)
        trial = self.record.search().trial(version)
        self._tell(version, measured.ratio, trial.says if trial else Says.UNDECIDED, measured.problem)

    def _anew(self) -> None:
        """The bad version once more, made as the others were: is it the version, or how the device's was installed?"""
        measured = self.record.anew = self.record.anew or Measured()
        bad = self.what.question.bad
        try:
            self._measure(bad, measured, own=False)
        except (CannotHave, Fails) as error:
            measured.problem = str(error)
        says = self.record.anew_says() or Says.UNDECIDED
        self._tell(f"{bad}, made as the others were", measured.ratio, says, measured.problem)

    def _measure(self, version: str, into: Measured, *, own: bool = True) -> None:
        """A batch of pairs. Raises Fails where this version's runs fail, CannotHave, FarmError."""
        asked = self.what.question
        good, other = self._cell(asked.good), self._cell(version, own)
        about = 2 * asked.pairs * self.what.landed.seconds
        self.told.step(f"measuring {version} and {asked.good} in turns, {asked.pairs} pairs", about)
        found = in_turns(
            self.home,
            good,
            other,
            metric=asked.series.metric,
            pairs=asked.pairs,
            holder=f"the bisection of {asked.series.id}",
            stopped=self.stopped,
        )
        into.good += found.old
        into.other += found.new
        self.record.unit = found.unit

    def _cell(self, version: str, own: bool = True) -> Cell:
        """What is measured, on the device with this version."""
        return replace(self.what.cell, profile=self._profile(version, own), build=self.what.build(version))

    def _profile(self, version: str, own: bool) -> DeviceProfile:
        if (version, own) not in self.profiles:
            found = self._built(version, own)
            self.profiles[version, own] = found
            if own and found.options == self.what.profile.options and version not in self.record.own:
                self.record.own.append(version)
        return self.profiles[version, own]

    def _built(self, version: str, own: bool) -> DeviceProfile:
        what = self.what
        return with_build(
            self.home, what.profile, what.cell.runtime, what.build(version), self._made, self.stopped, own=own
        )

    def _made(self, text: str) -> None:
        self.told.step(text.removeprefix(f"{self.told.device}: "))  # which says itself of whom it speaks

    def _tell(self, version: str, ratio: Ratio | None, says: Says, why: str = "") -> None:
        """What a version turned out to be, and how much there is left to do at most."""
        good, about = self.what.question.good, ""
        if ratio and not why:
            about = f" ({ratio} of {good} after {ratio.pairs} pairs)"
        self.told.found(f"{version}: {says}{about}{f': {why}' if why else ''}{self._left()}")

    def _left(self) -> str:
        if self.record.ends() is not Says.BAD or self.record.end():
            return ""
        versions = self.record.search().left() or 1
        took = Took.of(self.home, self.what.profile.name).about_s(self.what.cell.runtime)
        each = took + 2 * self.what.question.pairs * self.what.landed.seconds
        more = "1 more version" if versions == 1 else f"{versions} more versions"
        return f". At most {more} to try, about {minutes(versions * each)}"
