"""A lane: the cells of one device, one after the other, while the device is leased to us."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agents import Agent
from flows.execute import Job
from flows.progress import tell
from quantfarm.nouns import Cell, Landed, State
from storage.home import Home
from storage.landing import Landings


@dataclass(slots=True)
class Tally:
    """What became of a sweep's cells; lanes of several devices add to one."""

    ok: int = 0
    failed: int = 0
    known: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, what: str) -> None:
        with self.lock:
            setattr(self, what, getattr(self, what) + 1)


Runner = Callable[[Agent, Job], Landed]


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

    def go(self, tally: Tally) -> None:
        name = self.agent.profile.name

        def waiting(who: str) -> None:
            tell("waiting", f"{name} is in use by {who}; waiting for it")

        with self.agent.lease(self.holder, waiting):
            landings = Landings(self.home)
            for cell in self.cells:
                self._cell(cell, landings, tally)

    def _cell(self, cell: Cell, landings: Landings, tally: Tally) -> None:
        """Looked up here, with the lease in hand: another sweep may just have measured it."""
        if landings.finished(cell.id) and not self.fresh:
            tally.add("known")
            return tell("known", cell=cell, landed=landings.latest(cell.id))
        landed = self._attempts(cell, landings.next_attempt(cell.id))
        tally.add("ok" if landed.outcome.state is State.OK else "failed")
        return None

    def _attempts(self, cell: Cell, attempt: int) -> Landed:
        """The first attempt, and as many more as the policy allows while they fail for a reason that may pass."""
        last = attempt + self.retries
        while True:
            tell("started", cell=cell)
            landed = self.run(self.agent, self.job(cell, attempt))
            tell("landed", cell=cell, landed=landed)
            if landed.outcome.state is State.OK or not landed.outcome.retryable or attempt >= last:
                return landed
            attempt += 1
