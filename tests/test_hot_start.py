"""A device that began warmer than at rest says so with every figure that heat moves."""

from __future__ import annotations

from quantfarm.metrics.starts import remarked
from quantfarm.nouns import Measurement

SPEED = Measurement(metric="sustained_steady", value=9.0, unit="tok/s", remark="runs 3 to 10")
MEMORY = Measurement(metric="resident_peak", value=80.0, unit="MiB")
HOT = {"hot_start": True, "gate": {"waited_s": 900, "awaited": ["cooling: 52.0 °C, at rest 40.0 °C"], "flags": []}}


def test_a_speed_says_how_hot_it_began_and_memory_does_not() -> None:
    speed, memory = remarked([SPEED, MEMORY], HOT)
    assert speed.remark == "runs 3 to 10; hot start: cooling: 52.0 °C, at rest 40.0 °C"
    assert memory == MEMORY


def test_a_cool_start_says_nothing() -> None:
    assert remarked([SPEED, MEMORY], {"hot_start": False, "gate": {"awaited": []}}) == (SPEED, MEMORY)
    assert remarked([SPEED], {}) == (SPEED,)


def test_what_was_waited_for_need_not_be_known() -> None:
    (speed,) = remarked([Measurement(metric="bench_tg", value=1.0, unit="tok/s")], {"hot_start": True})
    assert speed.remark == "hot start"
