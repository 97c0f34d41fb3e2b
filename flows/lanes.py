"""A lane: the cells of one device, one after the other, while the device is leased to us.

A device that goes away in the middle is waited for and leased again: the cell in hand costs one more
attempt, the others nothing. One that stays away fails that cell, and the rest of its cells wait for
a sweep that finds it well.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, repeat

from agents import Agent, AgentError
from flows.execute import Job
from flows.failures import land_failure
from flows.progress import tell
from flows.states import States
from flows.station import Station, leased
from flows.stopping import Stopped
from quantfarm.health import NotAllowed
from quantfarm.nouns import Cell, Landed, State
from storage import wanted
from storage.fencing import Fenced
from storage.home import Home
from storage.landing import Landings

#: How long a device that went away is waited for, and the pauses between tries.
PATIENCE_S = 120.0
PAUSES_S = (1.0, 2.0, 4.0, 8.0)
#: Said of a landed failure that is not the last word.
AGAIN = "it is tried again"


@dataclass(slots=True)
class Tally:
    """What became of a sweep's cells; lanes of several devices add to one."""

    ok: int = 0
    failed: int = 0
    known: int = 0
    waiting: int = 0  # for a device that is not well
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, what: str, cells: int = 1) -> None:
        with self.lock:
            setattr(self, what, getattr(self, what) + cells)

    def counts(self) -> dict[str, int]:
        with self.lock:
            return {"ok": self.ok, "failed": self.failed, "known": self.known, "waiting": self.waiting}


Runner = Callable[[Station, Job], Landed]


def never() -> bool:
    """Nobody asks to stop."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """`job` gives the job of a cell and attempt; `run` runs it (as a Prefect task); `fresh` measures anew."""

    home: Home
    agent: Agent
    cells: Sequence[Cell]
    job: Callable[[Cell, int], Job]
    run: Runner
    holder: str
    retries: int = 1
    fresh: bool = False
    night: str = ""  # measure what has not been measured for this night
    priority: int = 0  # who waits with a higher one gets the device between two cells
    stopped: Callable[[], bool] = never
    patience_s: float = PATIENCE_S

    @property
    def name(self) -> str:
        return self.agent.profile.name

    def go(self, tally: Tally) -> None:
        pending = deque(self.cells)
        work = _Work(self, pending, tally, States(self.home, self.agent.profile))
        try:
            work.all()
        finally:
            self.agent.close()

    def waiting(self) -> Callable[[str], None]:
        """Says once for whom we wait, and gives up when asked to."""
        said: list[str] = []

        def on_wait(who: str) -> None:
            if self.stopped():
                raise Stopped("stopped: what was finished is kept")
            if who not in said:
                said.append(who)
                tell("waiting", f"{self.name} is in use by {who}; waiting for it")

        return on_wait

    def pauses(self) -> Iterator[float]:
        """Seconds between tries, longer and longer, until patience ends."""
        end = time.monotonic() + self.patience_s
        for pause in chain(PAUSES_S, repeat(PAUSES_S[-1])):
            if time.monotonic() + pause > end:
                return
            yield pause

    def sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.stopped():
                raise Stopped("stopped: what was finished is kept")
            time.sleep(min(0.5, max(0.01, end - time.monotonic())))


@dataclass(slots=True)
class _Work:
    """What a lane has still to do."""

    lane: Lane
    pending: deque[Cell]
    tally: Tally
    states: States
    tried: dict[str, int] = field(default_factory=dict[str, int])  # cell id -> attempts made by this lane

    def all(self) -> None:
        pauses = self.lane.pauses()
        while self.pending:
            left = len(self.pending)
            try:
                error = self._once()
            except NotAllowed as unfit:  # taken out of use since the plan was made
                return self._wait(str(unfit))
            if len(self.pending) < left:
                pauses = self.lane.pauses()
            pause = next(pauses, None) if error is None or error.retryable else None
            if self.pending and pause is None:
                return self._give_up(error)
            if self.pending and pause is not None:
                self.lane.sleep(pause)
        return None

    def _once(self) -> AgentError | None:
        """Lease the device and measure until all is done or it is lost; the error that ended it, if one did."""
        lane = self.lane
        try:
            while self.pending:
                urgent = self._leased()
                if not urgent:
                    break
                tell("waiting", f"{lane.name} is handed over to {urgent}, which is more urgent")
                self._let_pass()
        except AgentError as error:
            tell("note", f"{lane.name}: {error}")
            return error
        if self.pending:
            tell("note", f"{lane.name} was lost; trying to reach it again")
        return None

    def _leased(self) -> str:
        """Measure under a lease until all is done, the device is lost, or somebody more urgent waits: who."""
        lane = self.lane
        with ExitStack() as held:
            with wanted.waiting(lane.home, wanted.device_of(lane.agent.profile), lane.priority, lane.holder):
                station = held.enter_context(leased(lane.agent, lane.holder, lane.waiting()))
            held.enter_context(self.states.busy(lane.holder))
            return self._measure(station)

    def _measure(self, station: Station) -> str:
        landings = Landings(self.lane.home)
        while self.pending:
            if urgent := self._urgent():
                return urgent
            self._cell(station, self.pending[0], landings)
            if not station.lease.held():
                return ""
        return ""

    def _urgent(self) -> str:
        return wanted.more_urgent(self.lane.home, wanted.device_of(self.lane.agent.profile), self.lane.priority)

    def _let_pass(self) -> None:
        """Who is more urgent has the device, or has gone away, before we ask for it again."""
        while self._urgent():
            self.lane.sleep(0.2)

    def _cell(self, station: Station, cell: Cell, landings: Landings) -> None:
        """Looked up here, with the lease in hand: another sweep may just have measured it."""
        if cell.id not in self.tried and landings.finished(cell.id, self.lane.night) and not self.lane.fresh:
            self._over("known")
            return tell("known", cell=cell, landed=landings.latest(cell.id))
        tell("started", cell=cell)
        self.tried[cell.id] = self.tried.get(cell.id, 0) + 1
        again = self.tried[cell.id] <= self.lane.retries
        try:
            landed = self.lane.run(station, self.lane.job(cell, landings.next_attempt(cell.id)))
        except Fenced as error:
            tell("note", str(error))
            return None if again else self._over("failed")
        ok = landed.outcome.state is State.OK
        again = again and not ok and landed.outcome.retryable
        tell("landed", AGAIN if again else "", cell=cell, landed=landed)
        return None if again else self._over("ok" if ok else "failed")

    def _over(self, what: str) -> None:
        self.pending.popleft()
        self.tally.add(what)

    def _give_up(self, error: AgentError | None) -> None:
        """The first cell fails with the reason, the others wait: nothing more is asked of this device."""
        reason = str(error) if error else f"{self.lane.name} went away again and again"
        cell = self.pending.popleft()
        landings = Landings(self.lane.home)
        stage = error.stage if error else "connect"
        job = self.lane.job(cell, landings.next_attempt(cell.id))
        tell("landed", cell=cell, landed=land_failure(self.lane.home, job, stage, reason, retryable=True))
        self.tally.add("failed")
        self.states.lost(reason)
        self._wait(reason)

    def _wait(self, reason: str) -> None:
        """What is left is for a sweep that finds the device well."""
        self.tally.add("waiting", len(self.pending))
        if self.pending:
            tell("waiting", f"{len(self.pending)} cells wait until {self.lane.name} is well: {reason}")
