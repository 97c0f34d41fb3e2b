"""When back-to-back runs have settled, and at what rate: METHOD §4's rule, worked by hand and against the runner's."""

from __future__ import annotations

import functools
import importlib.util
import math
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantfarm.statistics.steady import cut, judge, theil_sen
from tests.running import RUNNERS

RATES = st.floats(0.01, 1e5, allow_nan=False)


@functools.cache
def load() -> ModuleType:
    """The runner's part; it needs no runtime."""
    spec = importlib.util.spec_from_file_location("llama_cpp_sustained", RUNNERS / "llama_cpp_sustained.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def runner() -> ModuleType:
    return load()


# --- the rule, worked by hand ---


def test_a_step_down_is_steady_after_it() -> None:
    """Var(x[3:]) is 0: k = 3. Seven runs: their median's interval is x(1)…x(7)."""
    found = judge([100.0] * 3 + [80.0] * 7)
    assert found.steady
    assert found.rate
    assert (found.k, found.first, found.rate.value, found.ratio) == (3, 100.0, 80.0, 0.8)
    assert (found.rate.low, found.rate.high, found.rate.n) == (80.0, 80.0, 7)
    assert found.rate.coverage == 1 - 2 / 2**7


def test_a_step_half_way_leaves_too_few_runs_to_know() -> None:
    found = judge([100.0] * 5 + [80.0] * 5)
    assert not found.steady
    assert found.reason == "the rate was still changing half-way through 10 runs"
    assert found.ratio is None
    assert judge([100.0] * 5 + [80.0] * 10).k == 5


def test_a_slow_ramp_is_a_drift() -> None:
    """x = 100, 99, … 91: Var(x[k:])/(n-k) = ((n-k)² - 1)/(12·(n-k)) is least at k = 5, the bound."""
    assert judge([100.0 - i for i in range(10)]).reason == "the rate was still changing half-way through 10 runs"


def test_a_drift_is_told_with_its_size() -> None:
    """20 runs in turns 1 above and 1 below a line that falls by 0.3 a run: noise enough for the cut to be early,
    a slope that is certain all the same."""
    rates = [100 - 0.3 * i + (-1) ** i for i in range(20)]
    found = judge(rates)
    assert not found.steady
    assert found.reason == f"the rate drifts by {100 * found.drift:+.1f} % over runs {found.k + 1} to 20"
    assert found.drift < -0.02


def test_a_last_run_that_falls_is_not_steady() -> None:
    """median 100, MAD 0: the mean of the last three is 96.67."""
    assert judge([100.0] * 11 + [90.0]).reason == "the last three of 12 runs are -3.3 % from the median of runs 1 to 12"


def test_the_slope_and_its_interval_are_sen_s() -> None:
    """scipy.stats.theilslopes of the first ten digits of π gives the same three."""
    assert theil_sen([3, 1, 4, 1, 5, 9, 2, 6, 5, 3]) == pytest.approx((1 / 3, -0.5, 5 / 6))


def test_what_is_cut_off_is_the_least_of_equals() -> None:
    assert cut([5.0] * 10) == 0
    assert cut([9.0, *[5.0] * 9]) == 1


def test_fewer_than_ten_runs_are_not_enough() -> None:
    assert judge([1.0] * 9).reason == "9 runs are fewer than 10"
    assert judge([]).reason == "0 runs are fewer than 10"


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 0.0, -1.0])
def test_a_run_without_a_rate_is_not_steady(wrong: float) -> None:
    assert judge([1.0, 1.0, wrong, *[1.0] * 9]).reason == "run 3 has no rate"


def test_steady_rates_on_a_device_that_is_not_are_not_steady() -> None:
    found = judge([50.0] * 12, temperature="the temperature was rising 0.8 °C/min")
    assert (found.steady, found.reason, found.rate) == (False, "the temperature was rising 0.8 °C/min", None)


# --- what holds for all ---


@given(RATES, st.integers(10, 30))
def test_constant_rates_are_steady(rate: float, n: int) -> None:
    found = judge([rate] * n)
    assert found.steady
    assert (found.k, found.ratio) == (0, pytest.approx(1.0))


@given(st.integers(1, 6), st.floats(0.05, 0.95), st.floats(1, 1000))
def test_a_step_is_cut_off_just_before_it(before: int, to: float, rate: float) -> None:
    found = judge([rate] * before + [rate * to] * (15 - before))
    assert found.steady
    assert (found.k, found.ratio) == (before, pytest.approx(to))


@given(st.floats(0.005, 0.03), st.integers(10, 30), st.booleans())
def test_a_ramp_of_half_a_percent_a_run_or_more_is_never_steady(by: float, n: int, up: bool) -> None:
    assert not judge([100 * (1 + (by if up else -by) * i) for i in range(n)]).steady


@given(st.lists(st.floats(), max_size=30))
def test_any_floats_have_an_answer_and_only_steady_ones_a_number(rates: list[float]) -> None:
    found = judge(rates)
    assert found.steady == (found.reason == "")
    assert (found.ratio is None) == (not found.steady)


@given(st.lists(RATES, min_size=10, max_size=30), st.floats(0.001, 1000))
def test_the_unit_does_not_matter(rates: list[float], factor: float) -> None:
    """Of rates of three digits, so that rounding does not decide between equals."""
    rates = [float(f"{rate:.3g}") for rate in rates]
    factor = 2.0 ** round(math.log2(factor))
    assert judge(rates).steady == judge([rate * factor for rate in rates]).steady


# --- the runner's ---


@st.composite
def settling(draw: st.DrawFn) -> list[float]:
    """Rates as they come: a level that may decay, step or drift, with noise."""
    n = draw(st.integers(8, 30))
    shape = draw(st.sampled_from(["flat", "decay", "step", "drift", "random"]))
    noise = draw(st.sampled_from([0.0, 0.002, 0.01, 0.03]))
    at, size = draw(st.integers(0, 9)), draw(st.floats(0, 0.5))
    level = {
        "flat": lambda _: 1.0,
        "decay": lambda i: 1 - size * (1 - math.exp(-i / (1 + at))),
        "step": lambda i: 1.0 if i < at else 1 - size,
        "drift": lambda i: 1 - 0.02 * size * i,
        "random": lambda _: draw(st.floats(0.5, 1.5)),
    }[shape]
    return [100 * level(i) * (1 + noise * draw(st.floats(-2, 2))) for i in range(n)]


@settings(max_examples=400, deadline=None)
@given(settling())
def test_the_runner_decides_as_the_judge(rates: list[float]) -> None:
    assert load().is_steady(rates) == judge(rates).steady


@given(st.lists(st.floats(), max_size=30))
def test_the_runner_decides_as_the_judge_on_any_floats(rates: list[float]) -> None:
    assert load().is_steady(rates) == judge(rates).steady


def made(runner: ModuleType, rates: list[float], **counts: int) -> int:
    """How many runs are made of a device whose runs have these rates, the last one for ever."""
    return runner.until_steady(
        lambda run: rates[min(run, len(rates) - 1)], **{"runs": 10, "more": 5, "most": 30, **counts}
    )


def test_steady_runs_end_after_ten(runner: ModuleType) -> None:
    assert made(runner, [100.0]) == 10


def test_a_late_step_takes_five_more(runner: ModuleType) -> None:
    assert made(runner, [100.0] * 6 + [80.0]) == 15


def test_a_device_that_never_settles_ends_at_thirty(runner: ModuleType) -> None:
    assert made(runner, [100 * 0.97**i for i in range(30)]) == 30
    assert made(runner, [100 * 0.97**i for i in range(30)], most=12) == 12


def test_how_many_runs_are_to_come_is_known_as_far_as_it_can_be(runner: ModuleType) -> None:
    said = [runner.expected(run, runs=10, more=5, most=17) for run in (0, 9, 10, 14, 15, 16)]
    assert said == [10, 10, 15, 15, 17, 17]
