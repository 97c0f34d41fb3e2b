"""What can be chosen in the results, and how the farm stands, device by device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from quantfarm.health import By, DeviceState
from quantfarm.nouns import Plan
from storage import catalogue, sweeps
from storage.devices import Registry
from storage.home import Home
from storage.ingest import ingest
from storage.overview import overview, running, states
from storage.reading import Reader
from tests import made_up
from tests.storing import APP, FAILED, PHONE, cell, landed, launches, put


@pytest.fixture
def farm(home: Path) -> Home:
    return Home(home)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with Reader(made_up.store(tmp_path_factory.mktemp("store"))) as reader:
        yield reader


def test_devices_say_how_much_was_measured_and_when_and_whether_they_are_simulated(farm: Home) -> None:
    launches(farm, "bench_tg", [1.0, 2.0])
    put(farm, landed(cell(5), outcome=FAILED, started_at="2025-04-01T00:00:00Z"))
    launches(farm, "bench_tg", [1.0], cell(profile=replace(PHONE, simulated=True)))
    ingest(farm)
    with Reader(farm) as reader:
        laptop, phone = catalogue.devices(reader)
    assert (laptop.name, laptop.ok, laptop.failed, laptop.simulated) == ("laptop", 2, 1, False)
    assert laptop.last_at == datetime(2025, 4, 1)
    assert (phone.name, phone.simulated) == ("phone", True)


def test_a_choice_is_narrowed_by_what_was_chosen_before(farm: Home) -> None:
    launches(farm, "bench_tg", [1.0], cell(quant="Q8_0"))
    launches(farm, "decode_tps", [1.0], cell(profile=PHONE, workload=APP))
    ingest(farm)
    with Reader(farm) as reader:
        assert {one.name for one in catalogue.variants(reader)} == {"Q8_0", "Q4_K_M"}
        assert [one.name for one in catalogue.variants(reader, device="phone")] == ["Q4_K_M"]
        assert [one.name for one in catalogue.workloads(reader, device="phone")] == ["app p128 n64"]
        assert [(one.name, one.unit, one.kinds, one.launches) for one in catalogue.metrics(reader, device="phone")] == [
            ("decode_tps", "tok/s", ("app",), 1)
        ]


def test_variants_are_by_bits_per_weight(large: Reader) -> None:
    assert [one.name for one in catalogue.variants(large)] == ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S"]


def test_the_newest_measurement_is_found_by_time(large: Reader) -> None:
    newest = catalogue.newest(large)
    assert newest and newest.night == "2026-01-09" and newest.sweep == "night-2026-01-09"
    assert catalogue.newest(large, device="nobody") is None


def test_the_overview_knows_each_device_that_was_measured_or_registered(farm: Home) -> None:
    launches(farm, "bench_tg", [1.0])
    Registry(farm).move("desk", DeviceState.REGISTERED, "new", By.PERSON)
    ingest(farm)
    with Reader(farm) as reader:
        found = overview(reader)
    desk, laptop = found.devices
    assert (desk.device, desk.state, desk.state_reason, desk.ok, desk.measured_at) == (
        "desk",
        "registered",
        "new",
        0,
        None,
    )
    assert (laptop.device, laptop.model, laptop.ok, laptop.state, laptop.canary_clean) == (
        "laptop",
        "reference",
        1,
        "",
        None,
    )
    assert found.night is None


def test_the_overview_counts_the_last_nights_verdicts_by_device(large: Reader) -> None:
    found = overview(large)
    assert found.night and (found.night.night, found.night.verdicts) == ("2026-01-09", {"young": 4})
    desk, phone, *others = found.devices
    assert desk.verdicts == phone.verdicts == {"young": 2}
    assert not any(one.verdicts for one in others)
    assert (desk.canary_clean, desk.canary_why) == (False, "made up: slower")


def test_a_change_of_state_is_seen_before_it_is_published(farm: Home) -> None:
    launches(farm, "bench_tg", [1.0])
    ingest(farm)
    Registry(farm).move("laptop", DeviceState.REGISTERED, "new", By.PERSON)
    assert states(farm)["laptop"].to is DeviceState.REGISTERED


def test_a_running_sweep_is_shown_with_its_progress_and_no_other(farm: Home) -> None:
    first = cell()
    plan = Plan(cells=(first, cell(1)))
    put(farm, landed(first, figures={"bench_tg": 1.0}))
    for name in ("cut-off", "done", "alive"):
        sweeps.record(farm, name, "reference", {}, plan)
    sweeps.finish(farm, "done", "done")
    with sweeps.running(farm, "alive"):
        (one,) = running(farm)
    assert (one.sweep, one.finished, len(one.cells)) == ("alive", 1, 2)
    assert running(farm) == []
