"""The static program stops sustained load by the same rule as the Python runner: judged on its own rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from quantfarm import metrics
from quantfarm.metrics.speed import decode_rate
from quantfarm.metrics.sustained import GAP_S, sustained
from quantfarm.nouns import metric_of
from quantfarm.runtimes.events import parse
from tests import native
from tests.running import Ran, run
from tests.test_steady import load

pytestmark = pytest.mark.timeout(2400)  # a first build

SIZES: Mapping[str, int] = {"n_prompt": 8, "n_gen": 20, "runs": 10, "more": 1, "most": 30}


def ask(reference: Path, **more: Any) -> Ran:
    program = str(native.built(native.PHONE)["quantfarm-native"])
    return run([program, *native.request("sustained", reference, **{**SIZES, **more})])


@pytest.mark.parametrize("n_gen", [2, 3, 20, 200])
def test_it_stops_where_the_rule_says_of_its_own_rates(reference: Path, n_gen: int) -> None:
    """Runs of a token's step are as noisy as can be, long ones settle: both decide as the Python runner does, after
    every single run."""
    ran = ask(reference, n_gen=n_gen)
    assert ran.end["ok"], ran.end
    rates = [decode_rate(event["times"]) or math.nan for event in ran.of("decode")]
    counts = {name: SIZES[name] for name in ("runs", "more", "most")}
    assert load().until_steady(lambda at: rates[at], **counts) == len(rates)


def test_its_events_are_those_of_the_python_runner(reference: Path) -> None:
    ran = ask(reference, more=5, most=15)
    trace = parse(ran.lines)
    found = sustained(trace)
    assert found
    assert len(found.runs) in (10, 15)
    assert all((b.submitted - a.finished) / 1e9 < GAP_S for a, b in pairwise(found.runs))
    assert metric_of(metrics.measure(trace), "sustained_first")
    assert {name: trace.first("sustained")[name] for name in SIZES} == {**SIZES, "more": 5, "most": 15}


@pytest.mark.parametrize("wrong", [{"n_gen": 1}, {"runs": 0}, {"repetitions": 3}])
def test_a_request_that_cannot_be_is_refused(reference: Path, wrong: dict[str, int]) -> None:
    end = ask(reference, **wrong).end
    assert (end["ok"], end["stage"]) == (False, "request")
    assert next(iter(wrong)) in end["error"]
