"""What a comparison of A and B from interleaved pairs promises."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantfarm.statistics.pairs import paired_ratio

positive = st.floats(min_value=1e-3, max_value=1e6)


def test_the_estimate_is_the_median_of_the_walsh_averages_of_the_log_ratios() -> None:
    d = [0.1, 0.2, 0.4]
    walsh = sorted((x + y) / 2 for x, y in itertools.combinations_with_replacement(d, 2))
    found = paired_ratio([1.0] * 3, [math.exp(x) for x in d])
    assert found.ratio == pytest.approx(math.exp((walsh[2] + walsh[3]) / 2))
    assert found.n == 3


def test_below_six_pairs_there_is_no_95_percent_interval() -> None:
    five = paired_ratio([1.0] * 5, [1.1, 1.2, 1.3, 1.4, 1.5])
    assert (five.low, five.high, five.coverage) == (None, None, None)
    six = paired_ratio([1.0] * 6, [1.1, 1.2, 1.3, 1.4, 1.5, 1.6])
    assert six.low == pytest.approx(1.1) and six.high == pytest.approx(1.6)
    assert six.coverage == pytest.approx(1 - 2 / 64)


def test_the_interval_of_ten_pairs_is_the_tabled_one() -> None:
    # Hollander & Wolfe, table A.4: n = 10, P(W ≤ 8) = 0.024, so walsh(9) … walsh(47) covers 95.1 %.
    d = np.array([0.01, 0.013, 0.017, -0.004, 0.022, 0.008, 0.031, -0.011, 0.019, 0.002])
    walsh = sorted((d[i] + d[j]) / 2 for i in range(10) for j in range(i, 10))
    found = paired_ratio([1.0] * 10, list(np.exp(d)))
    assert found.low == pytest.approx(math.exp(walsh[8])) and found.high == pytest.approx(math.exp(walsh[46]))
    assert found.coverage == pytest.approx(0.951, abs=5e-4)


def test_p_is_the_share_of_sign_patterns_at_least_as_far_from_zero() -> None:
    d = [0.3, 0.1, 0.2, -0.05]
    far = [s for s in itertools.product((-1, 1), repeat=4) if abs(np.dot(s, d)) >= abs(sum(d)) - 1e-12]
    assert paired_ratio([1.0] * 4, list(np.exp(d))).p == len(far) / 16


def test_the_smallest_p_of_ten_pairs_is_two_in_1024() -> None:
    assert paired_ratio([1.0] * 10, [1.01 + i / 1000 for i in range(10)]).p == 2 / 1024


def test_no_difference_at_all_has_p_one_and_ratio_one() -> None:
    same = paired_ratio([3.0, 4.0, 5.0], [3.0, 4.0, 5.0])
    assert (same.ratio, same.p) == (1.0, 1.0)


def test_beyond_sixteen_pairs_p_is_drawn_and_repeats_for_a_seed() -> None:
    rng = np.random.default_rng(1)
    b = list(np.exp(rng.normal(0.004, 0.01, 24)))
    first, second = paired_ratio([1.0] * 24, b, seed=3), paired_ratio([1.0] * 24, b, seed=3)
    assert first == second and 0 < first.p < 1


def test_drawn_p_agrees_with_enumerated_p(monkeypatch: pytest.MonkeyPatch) -> None:
    b = list(np.exp(np.random.default_rng(2).normal(0.006, 0.01, 14)))
    exact = paired_ratio([1.0] * 14, b).p
    monkeypatch.setattr("quantfarm.statistics.pairs.ENUMERATED", 0)
    assert paired_ratio([1.0] * 14, b).p == pytest.approx(exact, abs=0.005)


@settings(deadline=None)
@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=12))
def test_exchanging_a_and_b_inverts_the_ratio_and_keeps_p(pairs: list[tuple[float, float]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    forth, back = paired_ratio(a, b), paired_ratio(b, a)
    assert back.ratio == pytest.approx(1 / forth.ratio) and back.p == forth.p
    if forth.low is not None and forth.high is not None:
        assert back.low == pytest.approx(1 / forth.high) and forth.low <= forth.ratio <= forth.high


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = [
        (r := paired_ratio([1.0] * 10, list(np.exp(rng.normal(0.02, 0.01, 10))))).low <= math.exp(0.02) <= r.high  # pyright: ignore
        for _ in range(400)
    ]
    assert 0.92 <= np.mean(held) <= 0.98


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([], []), ([0.0], [1.0]), ([1.0], [math.nan])])
def test_what_is_no_pair_of_positive_figures_is_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pairs wanted|above zero"):
        paired_ratio(a, b)
