"""The steps of a sweep that are tasks in Prefect's UI. Prefect keeps no result: landed files are the results."""

from __future__ import annotations

import threading
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State as PrefectState
from prefect.states import Completed, Failed

from agents import Agent
from flows import make
from flows.execute import Job, run_cell
from flows.lanes import Lane, Tally
from flows.progress import tell
from flows.sources import Files
from flows.station import Station
from quantfarm.nouns import Artifact, State, Variant
from storage.home import Home
from storage.ingest import ingest

#: Plain calls in order: inputs are not hashed, results not kept.
PLAIN: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


@task(task_run_name="quantize {wanted.model} {wanted.name}", **PLAIN)
def quantize(home: Home, host: Agent, wanted: Variant, source: Files, stop: threading.Event) -> Artifact:
    return make.variant(home, host, wanted, source, stop.is_set)


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


@task(task_run_name="publish", **PLAIN)
def publish(home: Home) -> int:
    """Carry what landed into the database; the version published."""
    return ingest(home, on_wait=lambda holder: tell("waiting", f"the database is in use by {holder}; waiting for it"))


@task(task_run_name="lane {lane.agent.profile.name}", **PLAIN)
def run_lane(lane: Lane, tally: Tally) -> None:
    lane.go(tally)
