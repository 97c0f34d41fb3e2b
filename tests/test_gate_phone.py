"""The start gate on a phone whose heat a test can change: it waits while that is warm, or says that it started hot."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents import agent
from flows import gate
from flows.station import Station, leased
from quantfarm.nouns import DeviceProfile, Idle, Workload, parameters
from tests.phone import phones
from tests.phone.phones import Phone

ZONE = 0
REST_C = 31.5
BENCH = Workload(kind="bench")


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[Phone]:
    with phones.adb_server(), phones.phone(tmp_path) as made:
        made.heat(ZONE, int(REST_C * 1000))
        yield made


def profile(phone: Phone, limit_s: float) -> DeviceProfile:
    """Watched by its thermal zones, with the baseline that a registration would have measured."""
    idle = Idle(temperature_c=REST_C, reading="cpu_0_0_usr_c")
    return replace(phone.profile, sensors=("thermal_zone",), idle=idle, options=parameters(gate_s=limit_s))


def wait(station: Station) -> dict[str, Any]:
    return gate.wait(station, BENCH, lambda: False)


def test_a_phone_as_cool_as_at_rest_starts_at_once(phone: Phone) -> None:
    with leased(agent(profile(phone, 60)), "a test", print) as station:
        said = wait(station)
    assert said["hot_start"] is False
    assert said["gate"]["awaited"] == []


def test_a_warm_phone_is_waited_for_until_it_has_cooled_down(phone: Phone) -> None:
    phone.heat(ZONE, 45_000)
    cooled: list[float] = []

    def cool() -> None:
        time.sleep(3)
        cooled.append(time.monotonic())
        phone.heat(ZONE, int((REST_C + 1) * 1000))

    with leased(agent(profile(phone, 120)), "a test", print) as station:
        cooling = threading.Thread(target=cool)
        cooling.start()
        said = wait(station)
        started = time.monotonic()
        cooling.join()
    assert started > cooled[0]
    assert said["hot_start"] is False
    assert said["gate"]["waited_s"] >= 2


def test_one_that_stays_warm_starts_all_the_same_and_its_result_says_so(phone: Phone) -> None:
    phone.heat(ZONE, 45_000)
    with leased(agent(profile(phone, 2)), "a test", print) as station:
        said = wait(station)
    assert said["hot_start"] is True
    assert said["gate"]["awaited"] == ["cooling: 45.0 °C, at rest 31.5 °C"]


def test_a_zone_that_stops_reading_is_said_and_not_waited_for(phone: Phone) -> None:
    phone.heat(ZONE, "")
    with leased(agent(profile(phone, 60)), "a test", print) as station:
        said = wait(station)
    assert said["hot_start"] is False
    assert any("no temperature can be read" in flag for flag in said["gate"]["flags"])


def test_what_heat_does_not_change_has_no_gate(phone: Phone) -> None:
    phone.heat(ZONE, 45_000)
    with leased(agent(profile(phone, 60)), "a test", print) as station:
        assert gate.wait(station, Workload(kind="quality"), lambda: False) == {}
