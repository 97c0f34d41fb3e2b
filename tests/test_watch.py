"""The sensors beside a lane: one shell for as long as the lease lasts, its looks on the clock of each run."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from agents.local import LocalAgent
from flows import gate
from flows.conditions import Conditions
from flows.station import Station
from flows.watch import Watch
from quantfarm.nouns import DeviceProfile, Workload

SENSORS = ("proc_memory", "proc_cpu")


def here(*sensors: str) -> LocalAgent:
    return LocalAgent(DeviceProfile(name="here", sensors=sensors))


def until(watch: Watch, looks: int) -> None:
    end = time.monotonic() + 30
    while len(watch.looks()) < looks:
        assert time.monotonic() < end, watch.ended
        time.sleep(0.1)


def test_looks_go_on_until_the_lane_ends_and_nothing_stays() -> None:
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    with Watch(here(*SENSORS), every_s=0.2) as watch:
        until(watch, 6)
        assert {look.sensor for look in watch.looks()} == set(SENSORS)
        assert len(watch.looks()) >= 6, "what was looked at once is still there"
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= before


def test_a_device_without_sensors_starts_nothing() -> None:
    with Watch(here()) as watch:
        assert not watch.on
        assert watch.looks() == []


def test_events_are_of_the_run_alone_on_its_own_clock() -> None:
    with Watch(here(*SENSORS), every_s=0.2) as watch:
        until(watch, 4)
        clocks = {"boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME), "wall_ns": time.time_ns()}
        begin = {"event": "begin", "t": time.monotonic_ns(), "clocks": clocks}
        seen = len(watch.looks())
        until(watch, seen + 6)
        events = watch.events(begin)
    times = [event["t"] for event in events]
    assert events and all(begin["t"] <= t <= time.monotonic_ns() for t in times)
    assert watch.events({}) == []


def test_a_shell_that_cannot_be_started_is_said_and_the_gate_does_not_wait_for_it(home: Path) -> None:
    agent = here(*SENSORS)
    with agent.lease("a test", print) as lease, Watch(agent) as watch:
        watch._stop.set()  # as if it had ended by itself
        watch._thread.join()
        said = gate.wait(Station(agent, lease, watch, Conditions(agent)), Workload(kind="bench"), lambda: False)
    assert said["hot_start"] is False
    assert "the sensors' shell ended" in said["gate"]["flags"][0]


def test_a_device_that_reads_no_temperature_is_measured_at_once_and_that_is_said(home: Path) -> None:
    agent = here(*SENSORS)
    with agent.lease("a test", print) as lease, Watch(agent, every_s=0.2) as watch:
        said = gate.wait(Station(agent, lease, watch, Conditions(agent)), Workload(kind="bench"), lambda: False)
    assert said["gate"]["flags"] == ["no temperature can be read"]
    assert said["gate"]["waited_s"] < gate.LIMIT_S / 10
