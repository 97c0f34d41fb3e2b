"""The start gate: wait until the device is as cool as at rest and no longer changing, at most 15 minutes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantfarm.nouns import Idle
from quantfarm.thermal import Answer, Gate, Reading, Verdict, idle, restless

REST = Idle(temperature_c=35.0, reading="x86_pkg_temp_c")
Curve = Callable[[float], float]


def cooling(start: float, room: float = 35.0, tau_s: float = 60.0) -> Curve:
    """Newton: the difference to the room falls by 1/e in `tau_s`."""
    return lambda t: room + (start - room) * math.exp(-t / tau_s)


def wait(gate: Gate, curve: Curve, every_s: float = 1.0, step: float = 0.0, **more: Any) -> tuple[Verdict, float]:
    """Reads a device until the gate lets it start; `step` is the sensor's resolution. (verdict, seconds waited)"""
    readings: list[Reading] = []
    t = 0.0
    while True:
        c = curve(t)
        readings.append(Reading(t_s=t, temperature_c=round(c / step) * step if step else c, **more))
        verdict = gate.judge(readings, t)
        if verdict.answer is not Answer.WAIT:
            return verdict, t
        assert verdict.awaited
        t += every_s
        assert t < 2000, "it waits for ever"


def test_a_hot_device_starts_once_it_is_near_its_baseline_and_flat() -> None:
    verdict, waited = wait(Gate(baseline=REST), cooling(85))
    assert verdict == Verdict(answer=Answer.READY)
    assert not verdict.hot_start
    # 50 °C above the room falls to a slope of 0.2 °C/min after ln(50·60/60 / 0.2)·60 s = 331 s; the minute's mean lags.
    assert 331 < waited < 331 + 60


def test_near_but_still_falling_is_not_enough() -> None:
    gate, curve = Gate(baseline=REST), cooling(36.9, tau_s=120)
    readings = [Reading(t_s=t, temperature_c=curve(t)) for t in range(61)]
    verdict = gate.judge(readings, 60)
    assert verdict.answer is Answer.WAIT
    assert verdict.awaited == ("falling 0.7 °C/min",)  # 1.9·(1 - e^-½) over the minute


def test_flat_but_too_warm_is_not_enough() -> None:
    readings = [Reading(t_s=t, temperature_c=37.1) for t in range(61)]
    verdict = Gate(baseline=REST).judge(readings, 60)
    assert verdict.answer is Answer.WAIT
    assert verdict.awaited == ("cooling: 37.1 °C, at rest 35.0 °C",)
    readings = [Reading(t_s=t, temperature_c=37.0) for t in range(61)]
    assert Gate(baseline=REST).judge(readings, 60).answer is Answer.READY


def test_what_never_cools_starts_hot_after_fifteen_minutes_and_says_why() -> None:
    verdict, waited = wait(Gate(baseline=REST), lambda _: 60.0, every_s=5)
    assert waited == 900
    assert verdict.hot_start
    assert verdict.awaited == ("cooling: 60.0 °C, at rest 35.0 °C",)


def test_the_limit_is_the_caller_s() -> None:
    verdict, waited = wait(Gate(baseline=REST, limit_s=120), cooling(85, tau_s=300), every_s=5)
    assert waited == 120
    assert verdict.hot_start
    assert verdict.awaited[0].startswith("cooling:")
    assert verdict.awaited[1].startswith("falling ")


def test_a_device_at_rest_needs_no_more_than_a_minute_and_none_with_what_was_read_before() -> None:
    verdict, waited = wait(Gate(baseline=REST), lambda _: 35.4)
    assert verdict.answer is Answer.READY
    assert waited <= 60
    before = [Reading(t_s=t, temperature_c=35.4) for t in range(100)]
    assert Gate(baseline=REST).judge(before, 0).answer is Answer.READY


def test_a_few_readings_are_not_a_minute() -> None:
    verdict = Gate(baseline=REST).judge([Reading(t_s=t, temperature_c=35.0) for t in (0, 1, 2, 60)], 60)
    assert verdict.awaited == ("a minute of readings: 60 s of 4 so far",)
    assert Gate(baseline=REST).judge([], 0).awaited == ("a first reading",)


@pytest.mark.parametrize("step", [0.001, 0.1, 0.5, 1.0])
def test_a_coarse_sensor_does_not_wait_for_ever(step: float) -> None:
    verdict, waited = wait(Gate(baseline=REST), cooling(85), step=step)
    assert verdict.answer is Answer.READY
    assert waited < 400


def test_a_sensor_of_whole_degrees_that_toggles_at_rest_is_flat() -> None:
    dice = random.Random(1)
    verdict, waited = wait(Gate(baseline=REST), lambda _: dice.choice((35.0, 36.0)))
    assert verdict.answer is Answer.READY
    assert waited <= 60


def test_a_sensor_of_whole_degrees_that_falls_by_several_is_not_flat() -> None:
    readings = [Reading(t_s=t, temperature_c=float(37 - t // 20)) for t in range(61)]
    assert Gate(baseline=REST).judge(readings, 60).awaited[-1].startswith("falling ")


def test_noise_of_a_tenth_of_a_degree_is_flat() -> None:
    dice = random.Random(2)
    verdict, waited = wait(Gate(baseline=REST), lambda _: dice.gauss(35.5, 0.1))
    assert verdict.answer is Answer.READY
    assert waited < 120


def test_one_odd_reading_is_not_the_device_s_temperature() -> None:
    readings = [Reading(t_s=t, temperature_c=35.0) for t in range(100)]
    readings[-1] = Reading(t_s=99, temperature_c=39.0)
    assert all("cooling" not in text for text in Gate(baseline=REST).judge(readings, 0).awaited)


# ------------------------------------------------------------------ what waiting cannot mend


def test_without_a_sensor_it_starts_at_once_and_says_so() -> None:
    verdict = Gate(baseline=REST).judge([Reading(t_s=0)], 0)
    assert verdict == Verdict(answer=Answer.READY, flags=("no temperature can be read",))


def test_without_a_baseline_only_flatness_is_waited_for() -> None:
    verdict, waited = wait(Gate(), cooling(85))
    assert verdict.answer is Answer.READY
    assert verdict.flags == ("no idle baseline: only flatness could be waited for",)
    assert waited > 300


def test_a_device_colder_than_its_baseline_starts_and_the_baseline_is_doubted() -> None:
    verdict, _ = wait(Gate(baseline=REST), lambda _: 28.0)
    assert verdict.answer is Answer.READY
    assert verdict.flags == ("idle baseline out of date: 28.0 °C, 35.0 °C when it was taken",)


def on_battery(pct: float, *, discharging: bool = True, plugged: bool = False, **gate: Any) -> tuple[Verdict, float]:
    more = {"battery_pct": pct, "discharging": discharging, "plugged": plugged}
    return wait(Gate(baseline=REST, **gate), lambda _: 35.0, **more)


def test_a_battery_between_40_and_90_percent_and_discharging_is_as_it_should_be() -> None:
    for pct in (40, 65, 90):
        assert on_battery(pct)[0] == Verdict(answer=Answer.READY)


@pytest.mark.parametrize(
    ("state", "flag"),
    [
        ({"pct": 65, "discharging": False, "plugged": True}, "not on battery: plugged in"),
        ({"pct": 65, "discharging": False}, "not on battery: it is not discharging"),
        ({"pct": 65, "plugged": True}, "not on battery: plugged in"),  # a charger too weak for the load
        ({"pct": 39}, "battery at 39 %, below 40 %"),
        ({"pct": 100}, "battery at 100 %, above 90 %"),
    ],
)
def test_what_the_battery_will_not_mend_is_flagged_and_not_waited_for(state: dict[str, Any], flag: str) -> None:
    verdict, waited = on_battery(**state)
    assert verdict == Verdict(answer=Answer.READY, flags=(flag,))
    assert waited <= 60


def test_a_battery_that_is_soon_in_range_is_waited_for() -> None:
    verdict, waited = on_battery(91.0)
    assert verdict.hot_start
    assert waited == 900
    assert verdict.awaited == ("battery at 91 %, above 90 %",)


def test_what_the_battery_said_before_a_later_reading_of_the_temperature_counts() -> None:
    cool = [Reading(t_s=t, temperature_c=35.0) for t in range(100)]
    plugged = Reading(t_s=98.5, battery_pct=65, plugged=True)
    flags = ("not on battery: plugged in",)
    assert Gate(baseline=REST).judge([*cool[:99], plugged, cool[99]], 0) == Verdict(answer=Answer.READY, flags=flags)


def test_the_battery_rule_can_be_off_and_a_device_without_battery_is_not_asked() -> None:
    assert on_battery(10, battery=False)[0] == Verdict(answer=Answer.READY)
    assert wait(Gate(baseline=REST), lambda _: 35.0)[0] == Verdict(answer=Answer.READY)


# ------------------------------------------------------------------ the baseline


def test_the_baseline_is_the_median_of_the_last_minute() -> None:
    readings = [Reading(t_s=t, temperature_c=50.0 if t < 30 else 35.0 + t % 3, power_w=8.0) for t in range(100)]
    found = idle(readings, reading="cpu_c", measured_at="2026-01-01T00:00:00+00:00")
    assert found == Idle(temperature_c=36.0, reading="cpu_c", power_w=8.0, measured_at="2026-01-01T00:00:00+00:00")


def test_a_device_that_is_still_cooling_is_not_at_rest() -> None:
    curve = cooling(60)
    readings = [Reading(t_s=t, temperature_c=curve(t)) for t in range(60)]
    assert restless(readings).startswith("falling ")
    assert restless([Reading(t_s=t, temperature_c=35.0) for t in range(60)]) == ""
    assert restless([]) != ""


def test_without_sensors_the_baseline_is_empty_and_nothing_fails() -> None:
    readings = [Reading(t_s=t) for t in range(60)]
    assert idle(readings, reading="x") == Idle()
    assert idle([]) == Idle()
    assert restless(readings) == ""


# ------------------------------------------------------------------ whatever is read

temperatures = st.none() | st.floats(-40, 150)
anything = st.lists(
    st.builds(
        Reading,
        t_s=st.floats(0, 5000),
        temperature_c=temperatures,
        battery_pct=st.none() | st.floats(0, 100),
        discharging=st.none() | st.booleans(),
        plugged=st.none() | st.booleans(),
    ),
    max_size=80,
).map(lambda readings: sorted(readings, key=lambda r: r.t_s))


@given(anything, st.none() | st.floats(-40, 150), st.floats(0, 2000))
def test_it_always_answers_and_never_waits_beyond_its_limit(
    readings: list[Reading], rest: float | None, waited: float
) -> None:
    verdict = Gate(baseline=Idle(temperature_c=rest)).judge(readings, waited)
    assert (verdict.answer is Answer.READY) == (not verdict.awaited)
    assert waited < 900 or verdict.answer is not Answer.WAIT
    assert all(verdict.awaited + verdict.flags)


@given(st.floats(20, 100), st.floats(20, 45), st.floats(10, 240), st.sampled_from([0.001, 0.1, 0.5, 1.0]))
def test_a_start_that_is_not_hot_is_near_the_baseline(start: float, room: float, tau_s: float, step: float) -> None:
    readings: list[Reading] = []

    def curve(t: float) -> float:
        readings.append(Reading(t_s=t, temperature_c=cooling(start, room, tau_s)(t)))
        return readings[-1].temperature_c or 0.0

    verdict, waited = wait(Gate(baseline=Idle(temperature_c=room)), curve, every_s=5, step=step)
    now = cooling(start, room, tau_s)(waited)
    if verdict.answer is Answer.READY and not verdict.flags:
        assert abs(now - room) <= 2 + step + 0.5
    else:
        assert verdict.hot_start or start < room


@given(st.lists(st.floats(20, 90), min_size=1, max_size=60))
def test_a_baseline_is_within_what_was_read(values: list[float]) -> None:
    found = idle([Reading(t_s=t, temperature_c=c) for t, c in enumerate(values)])
    assert found.temperature_c == median(values)
