"""What metrics are called, in which unit, and which way is better."""

from __future__ import annotations

import pytest

from quantfarm.decide.targets import MORE_IS_BETTER
from quantfarm.nightly.metrics import KNOWN
from quantfarm.report.figures import NAMES
from quantfarm.report.names import axis, called, more_is_better

#: Neither better nor worse for being more: what a measurement began with, or a yes or no.
NEUTRAL = {"temperature_start", "idle_power", "same_text"}


@pytest.mark.parametrize("metric", sorted((KNOWN | NAMES.keys() | MORE_IS_BETTER) - NEUTRAL))
def test_every_metric_that_is_judged_has_a_better_side(metric: str) -> None:
    found = more_is_better(metric)
    assert found is not None and (found or metric not in MORE_IS_BETTER)


def test_names_are_words_and_axes_have_their_unit() -> None:
    assert called("acc_norm_arc_challenge_25shot") == "arc_challenge 25-shot acc_norm"
    assert called("batch8_tps") == "speed in a batch of 8" and more_is_better("batch8_tps")
    assert axis("decode_tps", "tok/s") == "decode speed (tok/s)"
    assert axis("resident_peak", "MiB") == "resident memory (MiB, lower is better)"
    assert axis("ppl", "") == "perplexity (lower is better)"


def test_of_what_nobody_judges_no_side_is_better() -> None:
    assert more_is_better("temperature_start") is None and called("some_figure") == "some figure"
