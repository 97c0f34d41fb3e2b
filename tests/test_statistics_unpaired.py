"""B ÷ A from launches that are not in pairs, against what can be counted by hand."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import pytest

from quantfarm.statistics.unpaired import _rank, _ways, ratio


def counted(n: int, m: int) -> list[int]:
    """U of every order of n and m, one by one."""
    found = Counter(
        sum(b < a for a in chosen for b in set(range(n + m)) - set(chosen))
        for chosen in itertools.combinations(range(n + m), n)
    )
    return [found[u] for u in range(n * m + 1)]


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 4), (3, 3), (3, 5), (6, 4)])
def test_the_distribution_is_that_of_all_orders(n: int, m: int) -> None:
    assert _ways(n, m) == counted(n, m)
    assert sum(_ways(n, m)) == math.comb(n + m, n)


def test_three_against_three_have_no_95_percent_interval() -> None:
    """The two outermost of 20 orders: 90 %."""
    assert ratio([1, 1, 1], [2, 2, 2]).low is None
    assert ratio([1, 1, 1], [2, 2, 2]).ratio == pytest.approx(2.0)
    assert ratio([1, 1, 1], [2, 2, 2], level=0.9).coverage == pytest.approx(0.9)


def test_four_against_four_have_one_of_97_percent() -> None:
    """2 of 70 orders left out."""
    found = ratio([8.0, 9, 10, 11], [18.0, 19, 20, 21])
    assert (found.low, found.high, found.coverage) == pytest.approx((18 / 11, 21 / 8, 1 - 2 / 70))


def test_six_against_six_leave_out_five_on_each_side() -> None:
    """The table's critical value for n = m = 6 at 5 % two-sided is U = 5."""
    assert _rank(6, 6, 0.95)[0] == 6


def test_the_unit_and_the_direction_do_not_matter() -> None:
    a, b = [3.0, 4, 5, 6, 7], [5.0, 6, 7, 9, 11]
    one, other = ratio(a, b), ratio([10 * x for x in b], [10 * x for x in a])
    assert one.ratio == pytest.approx(1 / other.ratio)
    assert (one.low, one.high) == pytest.approx((1 / other.high, 1 / other.low))  # type: ignore[operator]


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    chance = random.Random(5)
    hits = 0
    for _ in range(2000):
        a, b = ([scale * math.exp(chance.gauss(0, 0.1)) for _ in range(6)] for scale in (1.0, 1.3))
        found = ratio(a, b)
        assert found.low
        assert found.high
        hits += found.low <= 1.3 <= found.high
    assert 0.94 < hits / 2000 < 0.98  # 95.9 %


@pytest.mark.parametrize(("a", "b"), [([], [1.0]), ([1.0], []), ([0.0], [1.0]), ([1.0], [math.nan])])
def test_what_has_no_ratio_is_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="above zero"):
        ratio(a, b)
