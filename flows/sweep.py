"""The sweep: quantize what is missing, measure every cell on its device, publish what landed.

Prefect gives the order, the names and the states; it keeps no result. A finished cell is a landed
file, so the same sweep again, after anything, only does what is not there yet.
"""

from __future__ import annotations

import contextlib
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State as PrefectState
from prefect.exceptions import TerminationSignal
from prefect.task_runners import ThreadPoolTaskRunner

from flows import artifacts, closing, labels, refusals
from flows.board import Board
from flows.carrying import Carried
from flows.prepare import Prepared, prepare
from flows.progress import also, tell
from flows.runlog import RunLog
from flows.stopping import Stopped, cancelled
from flows.tasks import publish
from quantfarm import sweeps
from quantfarm.errors import FarmError, UsageError
from storage.home import Home
from storage.ingest import ingest
from storage.sweeps import find, finish, record, running

#: Lanes side by side, one for each device: a thread that mostly waits costs next to nothing.
MAX_LANES = 1024
#: Who was told to stop waits no longer than this for the database; what landed is carried in by the next one.
PUBLISH_S = 5.0
#: What sweeps of this process came to: for who called one whose server went away before its end could be told there.
ENDED: list[dict[str, Any]] = []


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
    axes: dict[str, Any] | None = None,
    text: str | None = None,
    calibration: str | None = None,
    tasks: list[str] | None = None,
    tasks_dir: str | None = None,
    n_shot: int = 0,
    limit: int | None = None,
    build_on: str = "",
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
        suite: quick, speed, quality, full, lab, sustained, five-way
        launches: process launches of each speed cell
        workloads: instead of a suite: kind and parameters of each
        common: parameters for every workload that has them
        axes: parameters of speed workloads and the values to measure each at, in every combination
        text: text file for perplexity; none: the held-out reference corpus
        calibration: text that quantizers learn from; none: the training part of the reference corpus
        tasks: tasks of lm-eval (arc_easy, hellaswag, mmlu, …) and reference_cloze, …; none: the suite's
        tasks_dir: folder of task files; none: from the hub
        n_shot: worked examples before each question of a task
        limit: items of each task; a figure of fewer than all says so
        build_on: device or tag on which variants are made; none: this machine
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
    refusals.quiet()
    asked = {name: value for name, value in locals().items() if value is not None and name != "resume"}
    try:
        return _sweep(Home.default(), asked, resume)
    except FarmError as error:  # a message for a person, not a traceback; who calls the flow gets it raised
        return refusals.failed(error)


def _sweep(home: Home, asked: dict[str, Any], resume: str) -> dict[str, Any]:
    log, shelf = RunLog(), artifacts.Shelf(artifacts.run_id())
    with Board(shelf) as board, also(log, board):
        prepared = _gone_on_with(home, resume) if resume else prepare(home, sweeps.request(asked, "the request"))
        with running(home, prepared.id):
            if not resume:
                request = prepared.sweep.model_dump(mode="json")
                run = str(shelf.run or "")
                record(home, prepared.id, prepared.source.name, request, prepared.plan, run)
            labels.put(prepared)
            closing.plan(shelf, prepared)
            tell("plan", plan=prepared.plan)
            done = _to_its_end(Carried(home, prepared))
        closing.end(home, shelf, prepared)
    return done


def _gone_on_with(home: Home, sweep_id: str) -> Prepared:
    """Raises UsageError for one that cannot be gone on with, and for one that can no longer be done as asked."""
    known = find(home, sweep_id)
    try:
        return prepare(home, sweeps.request(known.request, f"sweep {sweep_id}"), sweep_id)
    except UsageError:
        if not known.alive:
            finish(home, sweep_id, "refused")
        raise


def _to_its_end(carried: Carried) -> dict[str, Any]:
    """The sweep; how it ended is written down, unless it was cut off."""
    home, prepared, tally = carried.home, carried.prepared, carried.tally
    try:
        carried.carry_out()
    except BaseException as error:
        carried.end()
        with contextlib.suppress(FarmError):  # what ended the sweep is what must be said
            if state := _ended_by(error):
                finish(home, prepared.id, state, tally.counts())
            ingest(home, wait_s=PUBLISH_S)
        raise
    carried.end()
    version = publish(home)
    finish(home, prepared.id, "done", tally.counts())
    tell("done")
    came_to = {
        "sweep": prepared.id,
        "model": prepared.source.name,
        "devices": sorted({cell.profile.name for cell in prepared.plan.cells}),
        **tally.counts(),
        "skipped": len(prepared.plan.skips),
        "version": version,
    }
    ENDED.append(came_to)
    return came_to


def _ended_by(error: BaseException) -> str:
    """`stopped` by a person, `failed`; empty where the process was told to end: the sweep is then cut off."""
    if cancelled():  # whatever it was that the signal interrupted
        return "stopped"
    if isinstance(error, TerminationSignal):
        return ""
    return "failed" if isinstance(error, Exception) and not isinstance(error, Stopped) else "stopped"
