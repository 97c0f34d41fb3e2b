"""Summary of replicates: median, MAD, and the exact order-statistic interval of the median.

For sorted x(1) ≤ … ≤ x(n), P(x(k) ≤ median ≤ x(n+1-k)) = 1 - 2·P(B ≤ k-1), B ~ Binomial(n, 1/2)
(David & Nagaraja, Order Statistics, §7.1). Below n = 6 no such interval reaches 95 %: none is given.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """`value` is the median; `low`, `high` its interval with true `coverage`, None where there is none."""

    value: float
    mad: float
    n: int
    low: float | None = None
    high: float | None = None
    coverage: float | None = None


def _rank(n: int, level: float) -> tuple[int, float] | None:
    """The largest k whose interval x(k)…x(n+1-k) covers at least `level`, with its coverage."""
    below, best = 0.0, None
    for k in range(1, n // 2 + 1):
        below += math.comb(n, k - 1) / 2**n
        if 1 - 2 * below < level:
            break
        best = (k, 1 - 2 * below)
    return best


def summarise(values: Sequence[float], level: float = 0.95) -> Summary:
    """Summary of n ≥ 1 values. Raises statistics.StatisticsError when there are none."""
    x = sorted(values)
    median = statistics.median(x)
    mad = statistics.median([abs(v - median) for v in x])
    rank = _rank(len(x), level)
    if rank is None:
        return Summary(value=median, mad=mad, n=len(x))
    k, coverage = rank
    return Summary(value=median, mad=mad, n=len(x), low=x[k - 1], high=x[-k], coverage=coverage)
