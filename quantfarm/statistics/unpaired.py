"""B ÷ A from launches that were not taken in pairs: Hodges–Lehmann's estimate with the rank-sum test's interval.

With D = log(b/a) of every b and every a, the estimate is the median of D, the interval D(k)…D(nm+1-k) with coverage
1 - 2·P(U ≤ k-1), U Mann–Whitney's statistic (Hollander & Wolfe, Nonparametric Statistical Methods, §4.2–4.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """`low`, `high` with true `coverage`; None where there are too few launches for the level asked."""

    ratio: float
    low: float | None = None
    high: float | None = None
    coverage: float | None = None


def ratio(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Ratio:
    """B ÷ A of two samples of positive figures. Raises ValueError for an empty one and figures not above zero."""
    if not a or not b or not all(math.isfinite(value) and value > 0 for value in (*a, *b)):
        raise ValueError("a ratio needs finite figures above zero")
    apart = sorted(math.log(after) - math.log(before) for before in a for after in b)
    rank, coverage = _rank(len(a), len(b), level)
    middle = math.exp(median(apart))
    if not rank:
        return Ratio(ratio=middle)
    return Ratio(ratio=middle, low=math.exp(apart[rank - 1]), high=math.exp(apart[-rank]), coverage=coverage)


def _rank(n: int, m: int, level: float) -> tuple[int, float]:
    """The largest k whose interval covers at least `level`, with its coverage; 0 where none does."""
    ways = _ways(n, m)
    total, below, best = sum(ways), 0, (0, 0.0)
    for k in range(1, n * m // 2 + 1):
        below += ways[k - 1]
        coverage = 1 - 2 * below / total
        if coverage < level - 1e-12:
            break
        best = (k, coverage)
    return best


def _ways(n: int, m: int) -> list[int]:
    """In how many orders of n and m figures U is 0, 1, … nm: the Gaussian binomial coefficient's."""
    ways = [1] + [0] * (n * m)
    for i in range(1, n + 1):
        for u in range(n * m, m + i - 1, -1):  # × (1 - q^(m+i))
            ways[u] -= ways[u - m - i]
        for u in range(i, n * m + 1):  # ÷ (1 - q^i)
            ways[u] += ways[u - i]
    return ways
