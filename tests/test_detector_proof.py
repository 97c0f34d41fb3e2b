"""What is promised of the nightly detector (METHOD.md §6, check 8), as `benchmarks/detector.py` measures it."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from quantfarm.statistics.changes import Settings, change_points

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


sim = _load("simulated_nights")
tcpd = _load("tcpd")


# --- the promises ---


@pytest.mark.parametrize("cv", [0.01, 0.03])
def test_at_most_2_percent_of_200_series_of_60_nights_without_a_change_alert(cv: float) -> None:
    assert len(sim.alerts(sim.normal, cv)) <= 0.02 * sim.SERIES == 4


def test_a_5_percent_step_at_cv_1_percent_is_caught_within_3_nights_in_90_percent() -> None:
    found = sim.steps(0.05)
    assert len(found) == 200 and {one.by for one in found} == {-0.05, 0.05}
    assert sim.caught(found) >= 0.9 * len(found)
    told = [one for one in found if one.delay is not None]
    assert len(told) >= 0.99 * len(found)
    assert np.median([abs(one.size_error) for one in told]) < 0.01
    assert np.mean([one.place_error == 0 for one in told]) > 0.9


@pytest.mark.parametrize("size", [-0.99, -0.1, 0.1, 0.5, 100.0])
def test_one_bad_last_night_is_no_alarm(size: float) -> None:
    assert sim.outlier_alarms(size) == 0


def test_the_test_can_fail_a_detector_without_the_guard_alarms_on_the_bad_night() -> None:
    x = sim.nights(0, sim.normal, 0.01)
    x[-1] *= 0.5
    assert change_points(x, Settings(min_points=1)) and not change_points(x)


def test_what_a_false_alert_is_measured_again_for_is_seldom_there() -> None:
    """Nights that depend on each other do alarm; an interleaved rerun of the same build tells that it is none."""
    told = sim.alerts(sim.autoregressive, 0.03)
    assert len(told) > 20  # told in docs/detector.md: such noise needs its confirmation
    assert sim.confirmed(told, sim.autoregressive, 0.03, "interleaved") <= 0.02 * sim.SERIES


def test_a_rerun_confirms_what_changed_and_not_what_did_not() -> None:
    assert sim.confirms(0.95, 0.01) >= 990
    assert sim.confirms(1.0, 0.01) <= 10
    assert sim.confirms(0.985, 0.01) < sim.confirms(0.97, 0.01)


# --- the Turing Change Point Dataset: the measure is the authors' ---


def test_the_measure_of_the_paper_s_own_examples() -> None:
    """From the docstrings of the authors' metrics."""
    assert tcpd.f1({"1": [10, 20], "2": [11, 20], "3": [10], "4": [0, 5]}, [10, 20])[0] == pytest.approx(1.0)
    assert tcpd.f1({"1": [], "2": [10], "3": [50]}, [10])[0] == pytest.approx(0.9090909090909091)
    assert tcpd.f1({"1": [], "2": [10], "3": [50]}, [])[0] == pytest.approx(0.8)
    assert tcpd.covering({"1": [10, 20], "2": [10], "3": [0, 5]}, [10, 20], 45) == pytest.approx(0.7962962962962963)
    assert tcpd.covering({"1": [], "2": [10], "3": [40]}, [10], 45) == pytest.approx(0.7954144620811286)
    assert tcpd.covering({"1": [], "2": [10], "3": [40]}, [], 45) == pytest.approx(0.8189300411522634)


def test_finding_nothing_scores_what_the_paper_publishes_for_finding_nothing(data: Path) -> None:
    paper, given = tcpd.published(), tcpd.series(data)
    assert set(given) == set(paper["f1"]["default"]) == set(paper["covering"]["oracle"])
    for name, (values, people) in given.items():
        nothing = tcpd.scores(people, [], len(values))
        for score in ("f1", "covering"):
            for kind in ("default", "oracle"):
                assert round(nothing[score], 4) == paper[score][kind][name]["zero"]


def test_the_defaults_keep_what_docs_say_of_them(data: Path) -> None:
    scores = {
        name: tcpd.scores(people, [c.index for c in change_points(values)], len(values))
        for name, (values, people) in tcpd.series(data).items()
    }
    assert np.mean([one["f1"] for one in scores.values()]) >= 0.68
    assert np.mean([one["covering"] for one in scores.values()]) >= 0.65
    for steps in ("nile", "quality_control_1", "quality_control_3"):
        assert scores[steps]["f1"] == 1.0


# --- the parts ---


def test_a_change_found_twice_serves_one_annotation() -> None:
    assert tcpd.hits([10, 12], [11]) == 1
    assert tcpd.hits([10], [10, 11]) == 1
    assert tcpd.hits([10], [16]) == 0 and tcpd.hits([10], [15]) == 1


def test_wilson_s_interval_is_the_textbook_s() -> None:
    # Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3.
    for hits, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert sim.wilson(hits, of) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert sim.wilson(29, 29)[1] == pytest.approx(1)


def test_noise_is_as_wide_as_it_says() -> None:
    rng = np.random.default_rng(1)
    x = sim.autoregressive(rng, 20_000)
    assert np.std(x) == pytest.approx(1, abs=0.03)
    assert np.corrcoef(x[1:], x[:-1])[0, 1] == pytest.approx(0.5, abs=0.03)
    assert np.std(sim.normal(rng, 20_000)) == pytest.approx(1, abs=0.03)
    assert np.mean(sim.bad_nights(rng, 20_000) < -10) == pytest.approx(0.03, abs=0.005)
    assert math.isclose(float(np.median(sim.heavy(rng, 20_000))), 0, abs_tol=0.03)
