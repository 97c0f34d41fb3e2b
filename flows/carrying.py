"""Carry out a prepared sweep: variants first, then a lane for each device."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State as PrefectState
from prefect.futures import PrefectFuture

from agents import Agent, AgentError, agent
from flows import make, making
from flows.execute import Job
from flows.failures import land_failure
from flows.forgetting import forget_tasks_within
from flows.lanes import Lane, Tally
from flows.logits import Logits, compares
from flows.prepare import Prepared
from flows.progress import tell
from flows.station import Station
from flows.stopping import Stopped
from flows.tasks import bench, evaluate, run_lane
from quantfarm import suites, sweeps, variants
from quantfarm.errors import FarmError
from quantfarm.nouns import Artifact, Cell, DeviceProfile, Landed, Variant
from quantfarm.quantizers import AS_IS
from storage import wanted
from storage.artifacts import Artifacts
from storage.home import Home
from storage.landing import Landings

#: How long lanes that were told to stop are waited for: a device's run ends within a second or two.
STOPPING_S = 15.0


@dataclass(slots=True)
class Carried:
    """One sweep while it runs."""

    home: Home
    prepared: Prepared
    stop: threading.Event = field(default_factory=threading.Event)
    tally: Tally = field(default_factory=Tally)
    _artifacts: dict[str, Artifact] = field(default_factory=dict[str, Artifact])  # by recipe id
    _unmade: dict[str, str] = field(default_factory=dict[str, str])  # recipe id -> why it could not be made
    _logits: Logits = field(init=False)
    _no_logits: dict[Path, str] = field(default_factory=dict[Path, str])  # why they could not be made
    _lanes: list[PrefectFuture[Any]] = field(default_factory=list[PrefectFuture[Any]])

    def __post_init__(self) -> None:
        self._logits = Logits(self.home, self.stop.is_set)

    def carry_out(self) -> None:
        """Raises what ended it; lanes may then still be at work until `end` was called."""
        sweep, plan = self.prepared.sweep, self.prepared.plan
        landings = Landings(self.home)
        pending = [c for c in plan.cells if sweep.fresh or not landings.finished(c.id, sweep.night)]
        if pending:
            self._make_missing(pending)
        cells: dict[DeviceProfile, list[Cell]] = {}
        for cell in plan.cells:
            cells.setdefault(cell.profile, []).append(cell)
        # In threads, a single one too: the signal that ends a run then never strikes in the midst of a landing.
        lanes = [self._lane(profile, own) for profile, own in cells.items()]
        self._lanes = [run_lane.submit(lane, self.tally) for lane in lanes]
        for future in self._lanes:
            future.result()

    def end(self) -> None:
        """Nothing of the sweep is at work afterwards, or it is given up on; files that only it needed go."""
        self.stop.set()
        until = time.monotonic() + STOPPING_S
        for future in self._lanes:
            with contextlib.suppress(Exception):  # it was raised where it was waited for
                future.wait(max(0.0, until - time.monotonic()))
        self._logits.let_go()

    def _lane(self, profile: DeviceProfile, cells: list[Cell]) -> Lane:
        sweep = self.prepared.sweep
        return Lane(
            home=self.home,
            agent=agent(profile),
            cells=cells,
            job=self._job,
            run=self._measure,
            holder=self.prepared.holder,
            retries=sweep.retries,
            fresh=sweep.fresh,
            night=sweep.night,
            priority=sweep.priority,
            stopped=self.stop.is_set,
        )

    def _measure(self, on: Station, job: Job) -> Landed:
        """Run a cell as a Prefect task. Its failure is a landed row and the task's red state."""
        if job.obstacle:
            return land_failure(self.home, job, "quantize", job.obstacle)
        kind = evaluate if job.cell.workload.kind in suites.QUALITY else bench
        state: PrefectState[Any] = kind(self.home, on, job, self.stop, return_state=True)
        forget_tasks_within()
        if self.stop.is_set():
            raise Stopped("stopped: what was finished is kept")
        landed = Landings(self.home).get(job.cell.id, job.attempt)
        if landed is None:  # it could not even be written down: a full disk, say
            state.result(raise_on_failure=True)
            raise FarmError(f"{job.cell.label} did not land")
        return landed

    def _job(self, cell: Cell, attempt: int) -> Job:
        """All that a cell needs to run; what cannot be had is the job's obstacle, and its cell fails with it."""
        recipe, sweep = cell.variant.recipe.id, self.prepared.sweep
        artifact = self._artifacts.get(recipe)
        files: dict[str, Path] = {}
        obstacle = self._unmade.get(recipe, "")
        if artifact:
            files |= Artifacts(self.home).files(artifact)
            try:
                files |= self._more_files(cell)
            except make.MakeError as error:
                obstacle = str(error)
        return Job(
            cell=cell,
            attempt=attempt,
            artifact=artifact or Artifact(sha256="", size=0, recipe=cell.variant.recipe),
            files=files,
            obstacle=obstacle,
            sweep=self.prepared.id,
            night=sweep.night,
            reproduce=sweeps.command(sweep, cell.variant.name, cell.profile.name),
            limit_s=sweep.limit_s,
        )

    def _more_files(self, cell: Cell) -> dict[str, Path]:
        """What a cell of its kind needs besides the model. Raises MakeError, Stopped."""
        settings = cell.workload.settings
        match cell.workload.kind:
            case "quality":
                return self._quality_files(cell)
            case "rolling":
                return {"text": self.prepared.text}
            case "tasks":
                return {"requests": self.prepared.requests[str(settings["task"])]}
            case "speculative":
                draft = self._draft(cell).recipe.id
                if why := self._unmade.get(draft):
                    raise make.MakeError(f"its draft: {why}")
                return Artifacts(self.home).files(self._artifacts[draft], "draft")
            case _:
                return {}

    def _draft(self, cell: Cell) -> Variant:
        [found] = variants.variants([str(cell.workload.settings["draft"])], self.prepared.source)
        return found

    def _quality_files(self, cell: Cell) -> dict[str, Path]:
        """The text and, to compare with, the logits of the unquantized model. Raises MakeError, Stopped."""
        files = {"text": self.prepared.text}
        if base := self._compared_with(cell):
            if why := self._no_logits.get(make.logits_path(self.home, cell, base)):
                raise make.MakeError(why)
            there = self._logits.find(cell, base)
            files["base_logits"] = there or self._logits.make(self.prepared.host, cell, base, self.prepared.text)
        return files

    def _compared_with(self, cell: Cell) -> Artifact | None:
        base = variants.base(self.prepared.source, cell.variant.format)
        return self._artifacts.get(base.recipe.id) if base and compares(cell) else None

    def _make_missing(self, pending: list[Cell]) -> None:
        """Every variant that a pending cell needs, and what it is compared with."""
        needed = {cell.variant.recipe.id: cell.variant for cell in pending}
        for cell in pending:
            base = variants.base(self.prepared.source, cell.variant.format) if compares(cell) else None
            for more in (base, self._draft(cell) if cell.workload.kind == "speculative" else None):
                if more:
                    needed[more.recipe.id] = more
        if not self._find(needed) and not self._without_logits(pending):
            return
        self._make_elsewhere(needed)
        with self._held(self.prepared.host):
            # Another sweep may just have made some; what could not be made elsewhere is not made here instead.
            if missing := [one for one in self._find(needed) if one.recipe.id not in self._unmade]:
                self._make(missing)
            self._make_logits(pending)

    def _make_elsewhere(self, needed: dict[str, Variant]) -> None:
        """On the device that the sweep wants its variants made on, where it names one."""
        missing = [one for one in self._find(needed) if one.recipe.quantizer != AS_IS]
        if not missing or wanted.device_of((maker := self.prepared.maker).profile) == "local":
            return
        try:
            with self._held(maker):
                self._make(missing, maker)
        except AgentError as error:  # not to be reached, or gone meanwhile
            self._unmade |= {one.recipe.id: str(error) for one in self._find(needed) if one in missing}
        finally:
            maker.close()

    def _make(self, missing: list[Variant], on: Agent | None = None) -> None:
        made, failed = making.make(self.home, self.prepared, missing, self.stop, on)
        self._artifacts |= made
        self._unmade |= failed

    @contextlib.contextmanager
    def _held(self, host: Agent) -> Iterator[None]:
        """Making is work like any other: nothing may be measured there meanwhile."""
        holder, device = self.prepared.holder, wanted.device_of(host.profile)
        with contextlib.ExitStack() as held:
            with wanted.waiting(self.home, device, self.prepared.sweep.priority, holder):
                held.enter_context(host.lease(holder, partial(self._waiting_for, device)))
            yield

    def _without_logits(self, cells: list[Cell]) -> list[tuple[Cell, Artifact]]:
        """One cell, and what it is compared with, for each file that is not there; those that are, are held."""
        with_base = [(cell, base) for cell in cells if (base := self._compared_with(cell))]
        first = {make.logits_path(self.home, cell, base): (cell, base) for cell, base in reversed(with_base)}
        return [(cell, base) for cell, base in first.values() if not self._logits.find(cell, base)]

    def _make_logits(self, pending: list[Cell]) -> None:
        """Now, while nothing is measured here: their cells may be those of a device elsewhere."""
        for cell, base in self._without_logits(pending):
            try:
                self._logits.make(self.prepared.host, cell, base, self.prepared.text)
            except make.MakeError as error:
                self._no_logits[make.logits_path(self.home, cell, base)] = str(error)

    def _find(self, needed: dict[str, Variant]) -> list[Variant]:
        """Takes what the store has; what it lacks."""
        found = {recipe: Artifacts(self.home).find(variant.recipe) for recipe, variant in needed.items()}
        self._artifacts |= {recipe: artifact for recipe, artifact in found.items() if artifact}
        return [needed[recipe] for recipe, artifact in found.items() if not artifact]

    def _waiting_for(self, device: str, who: str) -> None:
        if self.stop.is_set():
            raise Stopped("stopped before anything was made")
        tell("waiting", f"{'this machine' if device == 'local' else device} is in use by {who}; waiting for it")
