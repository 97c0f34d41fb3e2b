"""A lane keeps its device leased, waits for one that went away, and gives up on one that stays away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.fake import FakeAgent
from flows import lanes
from flows.execute import Job, run_cell
from flows.lanes import Lane, Tally
from flows.station import Station
from flows.stopping import Stopped
from quantfarm.health import By, Canary, DeviceState
from quantfarm.nouns import (
    Artifact,
    Cell,
    DeviceProfile,
    Landed,
    Recipe,
    State,
    Variant,
    Workload,
    metric_of,
    parameters,
)
from quantfarm.suites import DEFAULTS
from storage import fencing
from storage.devices import Registry
from storage.home import Home
from storage.landing import Landings

RECIPE = Recipe(source="a model", quantizer="gguf", quant="Q4_K_M")
CELLS = 3


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PAUSES_S", (0.01, 0.01))


def cells(profile: DeviceProfile) -> list[Cell]:
    variant = Variant(model="m", format="gguf", quant="Q4_K_M", recipe=RECIPE)
    workload = Workload(kind="bench", parameters=parameters({**DEFAULTS["bench"], "threads": 1}))
    one = Cell(profile=profile, variant=variant, runtime="llama_cpp", build="fake 1", workload=workload)
    return [replace(one, launch=n) for n in range(CELLS)]


def lane(home: Path, patience_s: float = 5.0, retries: int = 1, **script: object) -> Lane:
    profile = DeviceProfile(
        name="scripted",
        kind="fake",
        simulated=True,
        chip="simulated",
        options=parameters(script),  # type: ignore[arg-type]
    )
    model = home / "model.gguf"
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(b"x" * 1000)
    at = Home(home)

    def job(cell: Cell, attempt: int) -> Job:
        artifact = Artifact(sha256="0" * 64, size=1000, recipe=RECIPE)
        return Job(cell=cell, attempt=attempt, artifact=artifact, files={"model": model}, limit_s=10)

    return Lane(
        home=at,
        agent=FakeAgent(profile),
        cells=cells(profile),
        job=job,
        run=lambda station, given: run_cell(at, station, given),
        holder="a test",
        retries=retries,
        patience_s=patience_s,
    )


def landed(home: Path) -> list[Landed]:
    return list(Landings(Home(home)).all())


def test_a_device_that_is_unplugged_and_comes_back_costs_one_retried_cell_and_nothing_else(home: Path) -> None:
    tally = Tally()
    lane(home, fault="unplug", fault_runs=1, away=3).go(tally)
    assert (tally.ok, tally.failed, tally.waiting) == (CELLS, 0, 0)
    failed = [one for one in landed(home) if one.outcome.state is State.FAILED]
    assert len(failed) == 1 and len(landed(home)) == CELLS + 1
    assert failed[0].outcome.retryable and "unplugged" in failed[0].outcome.reason


def test_a_device_that_stays_away_fails_one_cell_and_the_others_wait(home: Path) -> None:
    tally = Tally()
    lane(home, patience_s=0.2, retries=5, fault="unplug", fault_runs=1, away=10**6).go(tally)
    assert (tally.ok, tally.failed, tally.waiting) == (0, 1, CELLS - 1)
    assert {one.outcome.state for one in landed(home)} == {State.FAILED}
    assert {one.cell.launch for one in landed(home)} == {0}


def test_one_that_was_never_there_fails_one_cell_at_the_stage_connect(home: Path) -> None:
    tally = Tally()
    away = lane(home, patience_s=0.2)
    assert isinstance(away.agent, FakeAgent)
    away.agent.away = 10**6
    away.go(tally)
    assert (tally.failed, tally.waiting) == (1, CELLS - 1)
    (only,) = landed(home)
    assert (only.outcome.stage, only.outcome.retryable) == ("connect", True)


def test_each_result_carries_the_token_it_was_measured_under(home: Path) -> None:
    lane(home).go(Tally())
    tokens = {one.conditions["lease"] for one in landed(home)}
    assert len(tokens) == 1


def test_a_result_of_a_lease_that_was_taken_over_is_not_written(home: Path) -> None:
    given = lane(home)

    def stale(station: Station, job: Job) -> Landed:
        newer = replace(station.lease.token, count=station.lease.token.count + 1)
        fencing.admit(Home(home), "scripted", newer)
        return run_cell(Home(home), station, job)

    tally = Tally()
    replace(given, run=stale, cells=given.cells[:1], retries=0).go(tally)
    assert (tally.ok, tally.failed) == (0, 1)
    assert not landed(home)


def test_a_lane_that_waits_for_a_device_can_be_stopped(home: Path) -> None:
    away = replace(lane(home, patience_s=60), stopped=lambda: True)
    assert isinstance(away.agent, FakeAgent)
    away.agent.away = 10**6
    with pytest.raises(Stopped):
        away.go(Tally())


def test_a_hot_device_is_slower_by_what_its_script_says(home: Path) -> None:
    """Heat: 35 °C at rest, tends to 95 °C, throttles at 60 °C to half the speed."""
    lane(home, heat_c_per_s=0.5, cool_s=120, throttle_c=60, throttle_to=0.5, bandwidth_gib_s=0.00001, noise=0).go(
        Tally()
    )
    first, *_, last = sorted(landed(home), key=lambda one: one.cell.launch)
    cool, hot = (metric_of(one.measurements, "bench_tg") for one in (first, last))
    assert cool and hot
    assert max(cool.samples) / min(hot.samples) == pytest.approx(2.0, rel=0.02)


def register(home: Path) -> Registry:
    registry = Registry(Home(home))
    registry.move("scripted", DeviceState.REGISTERED, "added", By.PERSON)
    registry.move("scripted", DeviceState.CHECKING, "first check", By.FARM)
    registry.add(CLEAN)
    registry.move("scripted", DeviceState.READY, "a clean canary", By.FARM)
    return registry


CLEAN = Canary(
    device="scripted",
    at="2026-01-01T00:00:00+00:00",
    series="s",
    runtime="",
    build="",
    clean=True,
    figures={},
    conditions={},
)


def test_a_registered_device_is_busy_while_it_works_and_ready_after(home: Path) -> None:
    registry = register(home)
    states: list[DeviceState | None] = []
    given = lane(home)

    def seen(station: Station, job: Job) -> Landed:
        states.append(registry.state("scripted"))
        return run_cell(Home(home), station, job)

    replace(given, run=seen).go(Tally())
    assert set(states) == {DeviceState.BUSY}
    assert registry.state("scripted") is DeviceState.READY


def test_a_registered_device_that_stays_away_is_unhealthy_with_the_reason(home: Path) -> None:
    registry = register(home)
    lane(home, patience_s=0.2, fault="unplug", fault_runs=1, away=10**6).go(Tally())
    last = registry.last("scripted")
    assert last and last.to is DeviceState.UNHEALTHY and "is not there" in last.reason


def test_cells_of_a_device_that_a_person_quarantines_meanwhile_wait(home: Path) -> None:
    registry, tally = register(home), Tally()
    registry.move("scripted", DeviceState.QUARANTINED, "a cracked screen", By.PERSON)
    lane(home).go(tally)
    assert (tally.ok, tally.failed, tally.waiting) == (0, 0, CELLS)
