"""Sustained load: what a trace of back-to-back runs says, worked by hand; where it is not steady, no steady number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from quantfarm import metrics
from quantfarm.metrics.sustained import sustained
from quantfarm.nouns import Measurement, Trace, metric_of

S = 10**9
Event = dict[str, Any]
STEADY = {"sustained_steady", "throttle_ratio", "time_to_steady"}


def runs(seconds: Sequence[float], tokens: int = 11, prompt: float = 0.5, gap: float = 0.1) -> list[Event]:
    """Runs of so many seconds of decoding each, from t = 100 s: half a second of prompt, then equal steps."""
    events: list[Event] = [{"event": "sustained", "t": 100 * S, "n_prompt": 4, "n_gen": tokens, "runs": 10}]
    events[0] |= {"more": 5, "most": 30}
    began = 100.0
    for i, spent in enumerate(seconds):
        first = began + prompt
        times = [round((first + spent * n / (tokens - 1)) * S) for n in range(tokens)]
        shared = {"mode": "app", "repetition": i, "t": times[-1]}
        events.append({"event": "prefill", **shared, "tokens": 4, "depth": 0, "seconds": prompt})
        events.append({"event": "decode", **shared, "submit": round(began * S), "times": times})
        began = first + spent + gap
    return events


def trace(*events: Event, ok: bool = True) -> Trace:
    begin = {"event": "begin", "t": S, "schema": 1}
    loaded = {"event": "loaded", "t": 2 * S, "seconds": 1.0, "backend": "CPU", "settings": {}, "model": {}}
    return Trace(events=(begin, loaded, *events, {"event": "end", "t": 10**13, "ok": ok}))


def looks(name: str, value: Any, until: int = 400, every: int = 1) -> list[Event]:
    return [
        {"event": "sample", "t": t * S, "source": "hwmon", "values": {name: value(t) if callable(value) else value}}
        for t in range(90, until, every)
    ]


def names(found: Sequence[Measurement]) -> set[str]:
    return {one.metric for one in found}


def one(found: Sequence[Measurement], metric: str) -> Measurement:
    measurement = metric_of(found, metric)
    assert measurement, names(found)
    return measurement


def test_the_figures_of_a_device_that_throttles_after_three_runs() -> None:
    """Ten steps of a second in the first three runs, of two in the rest: 1 and 0.5 tok/s. Steady from the fourth
    run on, whose prompt is submitted after 3 · (0.5 + 10 + 0.1) s."""
    found = metrics.measure(trace(*runs([10] * 3 + [20] * 7), *looks("cpu_c", 70)))
    assert one(found, "sustained_first").value == pytest.approx(1.0)
    steady = one(found, "sustained_steady")
    assert (steady.value, steady.low, steady.high, steady.n, steady.unit) == pytest.approx((0.5, 0.5, 0.5, 7, "tok/s"))
    assert steady.remark == "runs 4 to 10"
    assert one(found, "throttle_ratio").value == pytest.approx(0.5)
    assert one(found, "time_to_steady").value == pytest.approx(31.8)
    assert one(found, "temperature_start").value == 70
    assert "not_steady" not in names(found)


def test_a_device_that_does_not_throttle_is_steady_from_the_start() -> None:
    found = metrics.measure(trace(*runs([10] * 10), *looks("cpu_c", 50)))
    assert (one(found, "throttle_ratio").value, one(found, "time_to_steady").value) == pytest.approx((1.0, 0.0))


def test_no_steady_number_where_the_rate_is_not_steady() -> None:
    found = metrics.measure(trace(*runs([10 + i for i in range(30)]), *looks("cpu_c", 70, until=900)))
    assert not STEADY & names(found)
    why = one(found, "not_steady")
    assert (why.value, why.unit) == (30, "runs")
    assert "the rate" in why.remark
    assert one(found, "sustained_first").value == pytest.approx(1.0)


def test_no_steady_number_where_only_the_temperature_is_not() -> None:
    """A degree a minute up to the end."""
    found = metrics.measure(trace(*runs([10] * 10), *looks("cpu_c", lambda t: 40 + t / 60)))
    assert not STEADY & names(found)
    assert one(found, "not_steady").remark == "the temperature was still rising 1.0 °C/min"


def test_a_rise_that_ends_a_minute_before_the_runs_do_is_steady() -> None:
    """Twenty runs of 10.6 s end at 312 s; from 250 s on it rises by 0.1 °C/min."""
    heat = looks("cpu_c", lambda t: 40 + min(t, 250) / 60 + max(0, t - 250) / 600)
    assert names(metrics.measure(trace(*runs([10] * 20), *heat))) > STEADY


def test_a_short_load_is_judged_by_the_readings_that_there_are() -> None:
    short = runs([1] * 10)
    assert names(metrics.measure(trace(*short, *looks("cpu_c", 70)))) > STEADY
    assert not STEADY & names(metrics.measure(trace(*short, *looks("cpu_c", lambda t: 40 + t / 20))))


def test_too_few_readings_to_judge_the_temperature_are_said() -> None:
    found = metrics.measure(trace(*runs([1] * 10), *looks("cpu_c", 70, every=4)))
    assert one(found, "not_steady").remark == "the temperature cannot be judged: 4 readings in 16 s"


def test_only_the_steady_runs_temperature_is_asked_for() -> None:
    """It rises until the third run ends, at 131 s, and is still then."""
    heat = looks("cpu_c", lambda t: 40 + min(t, 131) / 4)
    assert names(metrics.measure(trace(*runs([10] * 3 + [12] * 7), *heat))) > STEADY


def test_a_device_without_a_thermometer_is_judged_by_its_rates_and_it_says_so() -> None:
    found = metrics.measure(trace(*runs([1] * 10)))
    assert one(found, "sustained_steady").remark == "the device's temperature is not known; runs 1 to 10"


def test_a_device_that_rested_between_runs_is_not_steady() -> None:
    found = metrics.measure(trace(*runs([10] * 10, gap=0.7), *looks("cpu_c", 70)))
    assert one(found, "not_steady").remark == "not back to back: 0.7 s between runs 1 and 2"


def test_rates_of_sustained_load_are_no_decode_speed() -> None:
    found = metrics.measure(trace(*runs([10] * 10), *looks("cpu_c", 70), *looks("system_w", 5)))
    assert not {"decode_tps", "ttft", "energy_per_token"} & names(found)


@pytest.mark.parametrize("events", [[], runs([10] * 10)[1:], runs([])])
def test_what_is_no_sustained_load_has_none_of_its_figures(events: list[Event]) -> None:
    assert sustained(trace(*events)) is None


def test_an_unfinished_run_has_no_figures() -> None:
    assert metrics.measure(trace(*runs([10] * 10), ok=False)) == ()


def test_joules_per_token_are_over_all_runs_whose_power_is_known() -> None:
    """5 W over ten seconds of ten tokens: 5 J/token. The sensor ends in the eighth run, which does not count."""
    found = metrics.measure(trace(*runs([10] * 10), *looks("system_w", 5.0, until=180)))
    energy = one(found, "sustained_energy")
    assert (energy.value, energy.unit, energy.n) == (pytest.approx(5.0), "J/token", 7)
    assert energy.remark == "reading: system_w; over 7 of 10 runs"


def test_joules_of_a_throttled_run_count_by_their_tokens() -> None:
    """Three runs of 10 s and seven of 20 s at 6 W and ten tokens each: 6 · 170 / 100."""
    found = metrics.measure(trace(*runs([10] * 3 + [20] * 7), *looks("system_w", 6.0)))
    assert one(found, "sustained_energy").value == pytest.approx(10.2)


def test_joules_of_runs_too_short_for_the_sensor_are_of_all_as_one() -> None:
    found = metrics.measure(trace(*runs([1] * 10, prompt=0.01, gap=0.01), *looks("system_w", 3.0)))
    energy = one(found, "sustained_energy")
    assert energy.value == pytest.approx(3.0 * 10.18 / 100)
    assert energy.remark == "reading: system_w; over 10 runs together"


def test_page_faults_are_told_with_the_figures() -> None:
    faulty = [
        {"event": "sample", "t": t * S, "source": "proc", "values": {"majflt": n}} for t, n in ((110, 5), (120, 6))
    ]
    warmup = {"event": "warmup", "t": 99 * S, "phase": "app"}
    found = metrics.measure(trace(warmup, *runs([10] * 10), *faulty))
    assert one(found, "sustained_steady").remark.startswith("1 major page fault while measuring")
