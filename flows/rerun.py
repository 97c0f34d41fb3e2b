"""Measure cells again, one after the other under one lease: old and new interleaved (ABBA), or the new alone.
Between two pairs the device is handed over to who is more urgent.

Each run is a landed attempt of its cell, whose sweep id begins with `rerun-`: no night's value is made of it. A rerun
for a night that was finished is not run again: what it landed is read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from agents import agent
from flows import progress
from flows.execute import LEASE_LOST, Job, run_cell
from flows.lanes import never
from flows.logits import Logits
from flows.rerun_jobs import Gone, Maker, job
from flows.states import States
from flows.station import Station, leased
from flows.stopping import Stopped
from quantfarm.errors import FarmError
from quantfarm.nouns import Cell, DeviceProfile, Landed, Measurement, State, digest, metric_of
from storage import wanted
from storage.home import Home
from storage.landing import Landings

#: How the sweep ids of reruns begin.
PREFIX = "rerun-"
PAUSE_S = 0.2

Tell = Callable[[str], None]


def _silent(text: str) -> None:
    """For who does not listen."""
    del text


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Values of one metric, in `unit`, in the order taken; the i-th old and the i-th new are a pair.

    `sweep` is the id under which the runs landed.
    """

    old: tuple[float, ...]
    new: tuple[float, ...]
    unit: str = ""
    sweep: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """How cells are measured again. `priority`: who waits for a device longer; `night`: empty for a person's."""

    home: Home
    holder: str
    night: str = ""
    priority: int = 0
    stopped: Callable[[], bool] = never
    tell: Tell = _silent

    def of(self, cells: Sequence[Cell]) -> list[Landed]:
        """Runs them in this order; what a finished rerun of the same for this night landed, where there is one.

        Raises FarmError for the first run that fails and a device that goes away (what was landed stays), Stopped.
        """
        begun = self._begun(cells)
        for landed in begun:
            if len(landed) == len(cells) and all(one.outcome.state is State.OK for one in landed):
                self.tell(f"{cells[-1].label}: was measured again for {self.night} already")
                return landed
        key = digest([cell.id for cell in cells])[:8]
        when = self.night or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
        return self._run(cells, f"{PREFIX}{when}-{key}-{len(begun) + 1}")

    def _begun(self, cells: Sequence[Cell]) -> list[list[Landed]]:
        """What earlier reruns of the same for this night landed, each in the order of `cells`."""
        if not self.night:
            return []
        key = f"{PREFIX}{self.night}-{digest([cell.id for cell in cells])[:8]}-"
        landings = Landings(self.home)
        found: dict[str, dict[str, list[Landed]]] = {}
        for cell_id in dict.fromkeys(cell.id for cell in cells):
            for landed in landings.of(cell_id):
                if landed.sweep.startswith(key):
                    found.setdefault(landed.sweep, {}).setdefault(cell_id, []).append(landed)
        return [_ordered(cells, by_cell) for by_cell in found.values()]

    def _run(self, cells: Sequence[Cell], sweep: str) -> list[Landed]:
        profile = cells[-1].profile
        logits = Logits(self.home, self.stopped)
        maker = Maker(logits=logits, holder=self.holder, priority=self.priority, waiting=self._waiting)
        reached, done = agent(profile), list[Landed]()
        try:
            jobs = {one.id: job(self.home, one, sweep, self.night, maker) for one in cells}  # before a device waits
            while len(done) < len(cells):
                with ExitStack() as held:
                    with wanted.waiting(self.home, wanted.device_of(profile), self.priority, self.holder):
                        station = held.enter_context(leased(reached, self.holder, self._waiting))
                    held.enter_context(States(self.home, profile).busy(self.holder))
                    self._some(station, cells, jobs, done)
                self._let_pass(profile)
        finally:
            reached.close()
            logits.let_go()
        return done

    def _some(self, station: Station, cells: Sequence[Cell], jobs: Mapping[str, Job], done: list[Landed]) -> None:
        """Until all are done, or somebody more urgent waits between two pairs: a pair is of one lease."""
        while len(done) < len(cells):
            if len(done) % 2 == 0 and self._urgent(station.profile):
                return
            done.append(self._one(station, jobs[cells[len(done)].id], len(done) + 1, cells))

    def _urgent(self, profile: DeviceProfile) -> str:
        return wanted.more_urgent(self.home, wanted.device_of(profile), self.priority)

    def _let_pass(self, profile: DeviceProfile) -> None:
        """Who is more urgent has the device, or has gone away, before we ask for it again."""
        while who := self._urgent(profile):
            self._waiting(who)
            time.sleep(PAUSE_S)

    def _one(self, station: Station, job: Job, number: int, cells: Sequence[Cell]) -> Landed:
        if self.stopped():
            raise Stopped("stopped: what was finished is kept")
        cell = job.cell
        self.tell(f"{cell.label} ({cell.build}): run {number} of {len(cells)}")
        progress.tell("started", cell=cell)
        landed = run_cell(self.home, station, _attempt(self.home, job), self.stopped)
        progress.tell("landed", cell=cell, landed=landed)
        if landed.outcome.state is not State.OK:
            raise FarmError(f"{cell.label} ({cell.build}): {landed.outcome.stage}: {landed.outcome.reason}")
        if not station.lease.held():
            raise FarmError(f"{cell.profile.name}: {LEASE_LOST}")
        return landed

    def _waiting(self, who: str) -> None:
        if self.stopped():
            raise Stopped("stopped while waiting for the device")
        progress.tell("waiting", f"in use by {who}; waiting for it")


def interleaved(
    home: Home,
    old: Cell,
    new: Cell,
    *,
    metric: str,
    pairs: int,
    holder: str,
    night: str = "",
    priority: int = 0,
    stopped: Callable[[], bool] = never,
    tell: Tell = _silent,
) -> Pairs:
    """Old and new of one device in ABBA order. Which build each runs under: its profile's options["python"].

    Raises Gone: they are one question or of two devices, or an artifact is gone; FarmError: a run failed, the device
    went away; Stopped.
    """
    if old.id == new.id or old.profile.name != new.profile.name:
        raise Gone(f"nothing to interleave: {old.label} ({old.build}) and {new.label} ({new.build})")
    how = Rerun(home=home, holder=holder, night=night, priority=priority, stopped=stopped, tell=tell)
    landed = how.of(abba(old, new, pairs))
    values = {one.id: _values([run for run in landed if run.cell.id == one.id], metric) for one in (old, new)}
    unit = _measurement(landed[0], metric).unit
    return Pairs(old=values[old.id], new=values[new.id], unit=unit, sweep=landed[0].sweep)


def repeat(
    home: Home,
    new: Cell,
    *,
    metric: str,
    launches: int,
    holder: str,
    night: str = "",
    priority: int = 0,
    stopped: Callable[[], bool] = never,
    tell: Tell = _silent,
) -> tuple[float, ...]:
    """The new alone, so many times. Raises Gone: its artifact is; FarmError: a run failed, the device went away."""
    how = Rerun(home=home, holder=holder, night=night, priority=priority, stopped=stopped, tell=tell)
    return _values(how.of([new] * launches), metric)


def abba(old: Cell, new: Cell, pairs: int) -> list[Cell]:
    """A B, B A, A B, …: what drifts while they are measured falls on both alike."""
    return [cell for n in range(pairs) for cell in ((old, new) if n % 2 == 0 else (new, old))]


def _ordered(cells: Sequence[Cell], by_cell: dict[str, list[Landed]]) -> list[Landed]:
    """Attempts of a cell are numbered in the order taken, so the order of all follows from that of the cells."""
    left = {cell_id: iter(landed) for cell_id, landed in by_cell.items()}
    found = (next(left.get(cell.id, iter(())), None) for cell in cells)
    return [landed for landed in found if landed]


def _values(landed: Sequence[Landed], metric: str) -> tuple[float, ...]:
    return tuple(_measurement(one, metric).value for one in landed)


def _measurement(landed: Landed, metric: str) -> Measurement:
    found = metric_of(landed.measurements, metric)
    if found is None:
        raise FarmError(f"{landed.cell.label} measured no {metric} this time")
    return found


def _attempt(home: Home, job: Job) -> Job:
    """The job as the next attempt of its cell."""
    return Job(
        cell=job.cell,
        attempt=Landings(home).next_attempt(job.cell.id),
        artifact=job.artifact,
        files=job.files,
        sweep=job.sweep,
        night=job.night,
    )
