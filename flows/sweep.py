"""The sweep: quantize what is missing, measure every cell on its device, publish what landed.

Prefect gives the order, the names and the states; it keeps no result. A finished cell is a landed
file, so the same sweep again, after anything, only does what is not there yet.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State as PrefectState
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from agents import Agent, agent
from flows import make
from flows.execute import Job, run_cell
from flows.failures import land_failure
from flows.lanes import Lane, Tally
from flows.prepare import Prepared, prepare
from flows.progress import tell
from flows.station import Station
from flows.stopping import Stopped
from quantfarm import planning, sweeps
from quantfarm.errors import FarmError, UsageError
from quantfarm.nouns import Artifact, Cell, Landed, State, Variant
from quantfarm.runtimes import runtime
from storage.artifacts import Artifacts
from storage.atomic import NoRoom
from storage.home import Home
from storage.ingest import ingest
from storage.landing import Landings
from storage.sweeps import find, finish, record
from storage.sweeps import running as alive

#: Plain calls in order: inputs are not hashed, results not kept (landed files are the results).
PLAIN: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}
MAX_LANES = 64


@task(task_run_name="quantize {wanted.model} {wanted.name}", **PLAIN)
def quantize(home: Home, host: Agent, wanted: Variant, source: Path) -> Artifact:
    return make.variant(home, host, wanted, source)


def _run(home: Home, on: Station, job: Job, stop: threading.Event) -> PrefectState[Any]:
    """The state of a cell's task: red where it failed, which has landed as a row."""
    outcome = run_cell(home, on, job, stop.is_set).outcome
    if outcome.state is State.OK:
        return Completed()
    return Failed(message=f"{outcome.stage}: {outcome.reason}")


@task(task_run_name="bench {job.cell.label}", **PLAIN)
def bench(home: Home, on: Station, job: Job, stop: threading.Event) -> PrefectState[Any]:
    return _run(home, on, job, stop)


@task(task_run_name="evaluate {job.cell.label}", **PLAIN)
def evaluate(home: Home, on: Station, job: Job, stop: threading.Event) -> PrefectState[Any]:
    return _run(home, on, job, stop)


@task(**PLAIN)
def publish(home: Home) -> int:
    """Carry what landed into the database; the version published."""
    return ingest(home, on_wait=lambda holder: tell("waiting", f"the database is in use by {holder}; waiting for it"))


@task(task_run_name="lane {lane.agent.profile.name}", **PLAIN)
def run_lane(lane: Lane, tally: Tally) -> None:
    lane.go(tally)


@dataclass(slots=True)
class _Sweep:
    """One sweep while it runs."""

    home: Home
    prepared: Prepared
    stop: threading.Event
    artifacts: dict[str, Artifact]  # by recipe id
    unmade: dict[str, str]  # recipe id -> why it could not be made
    base_logits: set[Path]  # large, and only needed while the sweep runs

    def measure(self, on: Station, job: Job) -> Landed:
        """Run a cell as a Prefect task. Its failure is a landed row and the task's red state."""
        if job.obstacle:
            return land_failure(self.home, job, "quantize", job.obstacle)
        kind = evaluate if job.cell.workload.kind == "quality" else bench
        state: PrefectState[Any] = kind(self.home, on, job, self.stop, return_state=True)
        if self.stop.is_set():
            raise Stopped("stopped: what was finished is kept")
        landed = Landings(self.home).get(job.cell.id, job.attempt)
        if landed is None:  # it could not even be written down: a full disk, say
            state.result(raise_on_failure=True)
            raise FarmError(f"{job.cell.label} did not land")
        return landed

    def job(self, cell: Cell, attempt: int) -> Job:
        """All that a cell needs to run; what cannot be had is the job's obstacle, and its cell fails with it."""
        recipe, sweep = cell.variant.recipe.id, self.prepared.sweep
        artifact = self.artifacts.get(recipe)
        files: dict[str, Path] = {}
        obstacle = self.unmade.get(recipe, "")
        if artifact:
            files["model"] = Artifacts(self.home).path(artifact)
            if cell.workload.kind == "quality":
                try:
                    files |= self.quality_files(cell)
                except make.MakeError as error:
                    obstacle = str(error)
        return Job(
            cell=cell,
            attempt=attempt,
            artifact=artifact or _nothing(cell),
            files=files,
            obstacle=obstacle,
            sweep=self.prepared.id,
            night=sweep.night,
            reproduce=sweeps.command(sweep, cell.variant.quant, cell.profile.name),
            limit_s=sweep.limit_s,
        )

    def quality_files(self, cell: Cell) -> dict[str, Path]:
        """The text and, to compare with, the logits of the unquantized model (of no use to a simulated device)."""
        files = {"text": self.prepared.text}
        base = planning.base(self.prepared.source)
        compares = "logits" in runtime(cell.runtime).workloads
        if base and base.recipe.id in self.artifacts and compares and not cell.profile.simulated:
            host, artifact = self.prepared.host, self.artifacts[base.recipe.id]
            files["base_logits"] = make.base_logits(self.home, host, cell, artifact, self.prepared.text)
            self.base_logits.add(files["base_logits"])
        return files

    def make_missing(self, pending: list[Cell]) -> None:
        """Every variant that a pending cell needs, and the base where one is compared with it."""
        wanted = {cell.variant.recipe.id: cell.variant for cell in pending}
        base = planning.base(self.prepared.source)
        if base and any(cell.workload.kind == "quality" for cell in pending):
            wanted[base.recipe.id] = base
        store = Artifacts(self.home)
        found = {recipe: store.find(variant.recipe) for recipe, variant in wanted.items()}
        self.artifacts |= {recipe: artifact for recipe, artifact in found.items() if artifact}
        missing = [wanted[recipe] for recipe, artifact in found.items() if not artifact]
        if missing:  # making one is work like any other: nothing may be measured here meanwhile
            with self.prepared.host.lease(self.prepared.holder, _waiting_for_this_machine):
                for variant in missing:
                    self.make(variant)

    def make(self, variant: Variant) -> None:
        """Quantize as a Prefect task; a failure is kept as the reason that the variant's cells will fail with."""
        state: PrefectState[Any] = quantize(
            self.home, self.prepared.host, variant, self.prepared.source_file, return_state=True
        )
        made = state.result(raise_on_failure=False)
        if isinstance(made, NoRoom):
            raise made
        if isinstance(made, Artifact):
            self.artifacts[variant.recipe.id] = made
        else:
            self.unmade[variant.recipe.id] = str(made)


def _waiting_for_this_machine(who: str) -> None:
    tell("waiting", f"this machine is in use by {who}; waiting for it")


def _nothing(cell: Cell) -> Artifact:
    return Artifact(sha256="", size=0, recipe=cell.variant.recipe)


@flow(  # pyright: ignore[reportCallIssue] - Prefect's overloads miss this task runner
    name="sweep",
    flow_run_name="sweep {model}",
    task_runner=ThreadPoolTaskRunner(max_workers=MAX_LANES),  # pyright: ignore[reportArgumentType]
    persist_result=False,
    validate_parameters=False,
)
def sweep(
    model: str = "reference",
    quants: list[str] | None = None,
    devices: list[str] | None = None,
    tags: list[str] | None = None,
    runtimes: list[str] | None = None,
    suite: str = "quick",
    launches: int | None = None,
    workloads: list[dict[str, Any]] | None = None,
    common: dict[str, Any] | None = None,
    text: str | None = None,
    fresh: bool = False,
    retries: int = 1,
    limit_s: float | None = None,
    seed: int = 0,
    notes: str = "",
    night: str = "",
    priority: int = 0,
    resume: str = "",
) -> dict[str, Any] | PrefectState[Any]:
    """Measure a model's quantizations on devices. What is cut off goes on where it was when it is run again.

    Args:
        model: reference, a hub id, a folder or a .gguf file
        quants: quantizations; none: the seven usual ones, or the file's own
        devices: device names; none (and no tags): local
        tags: devices that carry one of these tags
        runtimes: runtimes to measure under; none: each device's own
        suite: quick, speed, quality or full
        launches: process launches of each speed cell
        workloads: instead of a suite: kind and parameters of each
        common: parameters for every workload that has them
        text: text file for perplexity; none: the held-out reference corpus
        fresh: measure again what is there already
        retries: further attempts after a retryable failure
        limit_s: time limit of one cell in seconds; none: by kind
        seed: of the random order of cells
        notes: kept with the sweep
        night: ISO date: measure what was not yet measured for that night
        priority: who measures first where two wait for a device; nightly: -5
        resume: id of an unfinished sweep to go on with as it was asked for; everything else here is then passed over

    Returns the counts `ok`, `failed`, `known` (were there already), `waiting` (for a device that is not well),
    `skipped`, the sweep's id and the database version published. A request that cannot be carried out is refused
    before anything runs: the state is Failed with the reason, which is raised where a program calls the flow.
    """
    asked = {name: value for name, value in locals().items() if value is not None and name != "resume"}
    try:
        return _sweep(Home.default(), asked, resume)
    except FarmError as error:  # a message for a person, not a traceback; who calls the flow gets it raised
        return Failed(message=str(error), data=error)


def _sweep(home: Home, asked: dict[str, Any], resume: str) -> dict[str, Any]:
    prepared = _gone_on_with(home, resume) if resume else prepare(home, sweeps.request(asked, "the request"))
    with alive(home, prepared.id):
        if not resume:
            request = prepared.sweep.model_dump(mode="json")
            record(home, prepared.id, prepared.source.name, request, prepared.plan)
        tell("plan", plan=prepared.plan)
        return _until_it_ends(_Sweep(home, prepared, threading.Event(), {}, {}, set()), Tally())


def _gone_on_with(home: Home, sweep_id: str) -> Prepared:
    """Raises UsageError for one that cannot be gone on with, and for one that can no longer be done as asked."""
    known = find(home, sweep_id)
    try:
        return prepare(home, sweeps.request(known.request, f"sweep {sweep_id}"), sweep_id)
    except UsageError:
        if not known.alive:
            finish(home, sweep_id, "refused")
        raise


def _until_it_ends(running: _Sweep, tally: Tally) -> dict[str, Any]:
    """The sweep; how it ended is written down unless we are killed."""
    home, prepared = running.home, running.prepared
    try:
        _carry_out(running, tally)
    except BaseException as error:
        running.stop.set()
        with contextlib.suppress(FarmError):  # what stopped the sweep is what must be said
            publish(home)
            failed = isinstance(error, Exception) and not isinstance(error, Stopped)
            finish(home, prepared.id, "failed" if failed else "stopped", tally.counts())
        raise
    for file in running.base_logits:
        file.unlink(missing_ok=True)
    version = publish(home)
    finish(home, prepared.id, "done", tally.counts())
    tell("done")
    return {
        "sweep": prepared.id,
        "model": prepared.source.name,
        "devices": sorted({cell.profile.name for cell in prepared.plan.cells}),
        **tally.counts(),
        "skipped": len(prepared.plan.skips),
        "version": version,
    }


def _carry_out(running: _Sweep, tally: Tally) -> None:
    prepared, home = running.prepared, running.home
    sweep = prepared.sweep
    landings = Landings(home)
    pending = [c for c in prepared.plan.cells if sweep.fresh or not landings.finished(c.id, sweep.night)]
    if pending:
        running.make_missing(pending)
    lanes = [
        Lane(
            home=home,
            agent=agent(profile),
            cells=[cell for cell in prepared.plan.cells if cell.profile == profile],
            job=running.job,
            run=running.measure,
            holder=prepared.holder,
            retries=sweep.retries,
            fresh=sweep.fresh,
            night=sweep.night,
            stopped=running.stop.is_set,
        )
        for profile in dict.fromkeys(cell.profile for cell in prepared.plan.cells)
    ]
    if len(lanes) == 1:
        return lanes[0].go(tally)
    futures = [run_lane.submit(lane, tally) for lane in lanes]
    for future in futures:
        future.result()
    return None
