"""Accuracy from items, and the difference of two variants on the same documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from quantfarm.metrics import tasks as metric
from quantfarm.nouns import Trace
from quantfarm.statistics.paired import Answers, mcnemar_p, paired_accuracy


def item(doc: int, ll: Sequence[float], gold: int = 0, group: str = "", **more: Any) -> dict[str, Any]:
    usual = {"doc_hash": f"h{doc}", "lengths": [4] * len(ll), "greedy": [False] * len(ll)}
    return {"event": "item", "t": doc, "doc": doc, "ll": list(ll), "gold": gold, "group": group, **usual, **more}


def trace(items: Sequence[dict[str, Any]], ended: bool = True, **asked: Any) -> Trace:
    n = len(items)
    head = {"event": "tasks", "t": 0, "task": "quiz", "n_docs": n, "whole": n, "metrics": ["acc", "acc_norm"], **asked}
    return Trace(events=(head, *items, *([{"event": "end", "t": 9, "ok": True}] if ended else [])))


def test_the_likeliest_choice_counts_and_of_equal_ones_the_first() -> None:
    items = [item(0, [-1.0, -2.0]), item(1, [-2.0, -1.0]), item(2, [-1.0, -1.0]), item(3, [-1.0, -1.0], gold=1)]
    found = {one.metric: one.value for one in metric.measure(trace(items))}
    assert found["acc_quiz"] == 50.0


def test_acc_norm_weighs_by_characters() -> None:
    found = {one.metric: one.value for one in metric.measure(trace([item(0, [-4.0, -3.0], lengths=[8, 2])] * 2))}
    assert (found["acc_quiz"], found["acc_norm_quiz"]) == (0.0, 100.0)


def test_one_continuation_is_right_when_it_is_the_greedy_one() -> None:
    items = [item(0, [-1.0], greedy=[True]), item(1, [-1.0]), item(2, [-9.0]), item(3, [-9.0])]
    assert metric.measure(trace(items, metrics=["acc"]))[0].value == 25.0


def test_a_sample_says_so_in_its_name_and_in_its_remark() -> None:
    items = [item(n, [-1.0, -2.0]) for n in range(3)]
    (acc, error) = metric.measure(trace(items, task="mmlu", whole=14042, n_shot=5, metrics=["acc"], truncated=2))
    assert acc.metric == "acc_mmlu_5shot_3of14042"
    assert error.metric == "acc_stderr_mmlu_5shot_3of14042"
    assert "3 of the 14042 items of mmlu: a sample, not the benchmark" in acc.remark
    assert "context cut in 2 of 3 items" in acc.remark


def test_a_trace_that_lacks_items_or_its_end_gives_no_figure() -> None:
    items = [item(n, [-1.0, -2.0]) for n in range(3)]
    assert metric.measure(trace(items, ended=False)) == []
    assert metric.measure(trace(items, n_docs=4)) == []


def test_the_interval_is_wilsons() -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 and 0 of 20."""
    assert metric.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert metric.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_the_standard_error_is_that_of_the_mean() -> None:
    right = [True] * 30 + [False] * 12
    assert metric.standard_error([right]) == pytest.approx(np.std(right, ddof=1) / math.sqrt(len(right)))
    assert metric.standard_error([[True]]) == 0.0


def test_the_margin_is_from_the_likeliest_wrong_choice() -> None:
    assert metric.margin(item(0, [-3.0, -1.0, -2.5], gold=2)) == -1.5
    assert metric.margin(item(0, [-3.0])) is None


# ------------------------------------------------------------------ pairs


def answers(right: Sequence[bool], groups: Sequence[str] = ()) -> Answers:
    given = groups or [""] * len(right)
    docs = [f"d{n}" for n in range(len(right))]
    return Answers(right=dict(zip(docs, right, strict=True)), groups=dict(zip(docs, given, strict=True)))


def test_mcnemars_test_is_the_exact_one() -> None:
    assert mcnemar_p(1, 9) == pytest.approx(2 * 11 / 1024)
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(5, 5) == 1.0
    assert mcnemar_p(0, 6) == mcnemar_p(6, 0) == pytest.approx(2 / 64)


def test_what_both_get_right_or_wrong_says_nothing() -> None:
    a = answers([True] * 600 + [False] * 380 + [True] * 15 + [False] * 5)
    b = answers([True] * 600 + [False] * 380 + [False] * 15 + [True] * 5)
    found = paired_accuracy(a, b)
    assert (found.delta, found.n, found.only_a, found.only_b) == (pytest.approx(-1.0), 1000, 15, 5)
    assert found.low < -1.0 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 100 * math.sqrt((0.02 - 0.0001) / 1000), rel=0.1)
    assert found.p == pytest.approx(0.0414, abs=1e-4)


def test_the_bootstrap_draws_documents_with_replacement() -> None:
    """Against one that draws every document."""
    random = np.random.default_rng(3)
    a, b = random.random(300) < 0.6, random.random(300) < 0.5
    d = b.astype(int) - a.astype(int)
    drawn = 100 * d[random.integers(0, 300, size=(20000, 300))].mean(axis=1)
    found = paired_accuracy(answers(a.tolist()), answers(b.tolist()))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.5)


def test_documents_are_drawn_within_their_group() -> None:
    """Two subjects in each of which the difference is the same for every document: nothing is left to chance."""
    a, b = answers([False] * 10 + [True] * 30, ["x"] * 10 + ["y"] * 30), answers([True] * 40, ["x"] * 10 + ["y"] * 30)
    found = paired_accuracy(a, b)
    assert (found.low, found.delta, found.high) == (25.0, 25.0, 25.0)


@pytest.mark.parametrize(("n", "hidden"), [(100, 3.62), (1000, 0.368)])
def test_where_no_document_differs_the_interval_is_what_so_many_can_hide(n: int, hidden: float) -> None:
    """(1 - x)^n = 2.5 %: not the certainty that a bootstrap of equal answers would show."""
    found = paired_accuracy(answers([True] * n), answers([True] * n))
    assert (found.delta, found.p) == (0.0, 1.0)
    assert (found.low, found.high) == (pytest.approx(-hidden, rel=2e-3), pytest.approx(hidden, rel=2e-3))


def test_only_documents_that_both_answered_count() -> None:
    assert paired_accuracy(answers([True] * 8), answers([True] * 5)).n == 5
    with pytest.raises(ValueError, match="no document in common"):
        paired_accuracy(answers([]), answers([True]))
