"""What is known of devices beside their results, and what goes on with them now."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quantfarm.nouns import DeviceProfile, Plan
from storage import device_history, known_devices, progress, sweeps, wanted
from storage.home import Home
from storage.ingest import ingest
from storage.names import cell_path
from storage.reading import Reader
from tests.storing import LAPTOP, PHONE, cell, landed, put, sample


@pytest.fixture
def farm(tmp_path: Path) -> Home:
    return Home(tmp_path)


def profile(home: Home, name: str, text: str) -> None:
    (home.folder("device_profiles") / f"{name}.yaml").write_text(text)


def test_a_profile_that_cannot_be_read_hides_no_other(farm: Home) -> None:
    profile(farm, "desk", "kind: ssh\ncores: 4\n")
    profile(farm, "attic", "colour: green\n")
    found = known_devices.registered(farm)
    assert list(found.profiles) == ["desk"]
    assert "colour" in found.problems["attic.yaml"]


def test_a_home_without_profiles_is_not_made_one(tmp_path: Path) -> None:
    home = Home(tmp_path / "none")
    assert not known_devices.registered(home).profiles
    assert not home.root.exists()


def test_a_measured_device_is_known_as_it_was_measured_last(farm: Home) -> None:
    put(farm, landed(cell(profile=PHONE)))
    put(farm, landed(cell(profile=replace(LAPTOP, os="Debian 13")), started_at="2025-03-02T12:00:00.000+00:00"))
    put(farm, landed(cell(profile=replace(LAPTOP, os="Debian 12"), launch=1)))
    ingest(farm)
    with Reader(farm) as reader:
        was = known_devices.measured(reader, farm)
    assert {name: one.os for name, one in was.items()} == {"phone": "", "laptop": "Debian 13"}


def test_a_profiles_own_facts_come_before_those_of_the_measurement(farm: Home) -> None:
    profile(farm, "laptop", 'targets: {"bench_tg": 10}\nchip: N200\n')
    own = known_devices.registered(farm)
    one = known_devices.joined(own, {"laptop": LAPTOP, "phone": PHONE})["laptop"]
    assert (one.chip, one.cores, one.targets) == ("N200", 4, (("bench_tg", 10),))


def test_a_template_or_simulated_device_stays_what_its_profile_says(farm: Home) -> None:
    profile(farm, "desk", "kind: ssh\n")
    was = DeviceProfile(name="desk", kind="fake", simulated=True)
    assert not known_devices.joined(known_devices.registered(farm), {"desk": was})["desk"].simulated


def test_a_running_sweep_says_how_far_it_is_and_how_long_it_takes(farm: Home) -> None:
    cells = tuple(cell(launch=number) for number in range(6))
    put(farm, landed(cells[0]))
    os.utime(cell_path(farm, cells[0].id, 1), (0, 0))  # it was there long before
    sweeps.record(farm, "s1", "reference", {"devices": ["laptop"]}, Plan(cells=cells))
    with sweeps.running(farm, "s1"):
        (one,) = progress.running(farm)
        assert (one.done, one.total, one.devices, one.left_s) == (1, 6, ("laptop",), None)
        for number in (1, 2):
            put(farm, landed(cells[number]))
        began = datetime.fromisoformat(one.began_at)
        (one,) = progress.running(farm, now=began + timedelta(seconds=20))
        assert (one.done, one.left_s) == (3, 30.0)  # three more, ten seconds each
    assert not progress.running(farm, datetime.now(UTC))


def test_who_waits_is_told_the_most_urgent_first(farm: Home) -> None:
    assert not wanted.waiters(farm, "desk")
    with wanted.waiting(farm, "desk", -5, "the night"), wanted.waiting(farm, "desk", 0, "a person's sweep"):
        assert wanted.waiters(farm, "desk") == ["a person's sweep", "the night"]
    assert not wanted.waiters(farm, "desk")


def test_the_last_temperature_is_that_of_the_reading_that_stands_for_the_device(farm: Home) -> None:
    looks = [
        sample(1, x86_pkg_temp_c=50.0, nvme_c=70.0),
        sample(2, x86_pkg_temp_c=61.0),
        sample(3, x86_pkg_temp_c=55.0),
    ]
    lines = ['{"event": "begin", "schema": 1, "t": 0}', *looks, '{"event": "end", "ok": true}']
    put(farm, landed(cell()), lines)
    put(farm, landed(cell(launch=1), started_at="2025-03-02T12:00:00.000+00:00"))  # read no temperature
    ingest(farm)
    with Reader(farm) as reader:
        seen = device_history.temperature(reader, "laptop")
        assert device_history.temperature(reader, "phone") is None
    assert seen is not None
    assert (seen.reading, seen.last_c, seen.highest_c, seen.cell) == ("x86_pkg_temp_c", 55.0, 61.0, cell().id)
