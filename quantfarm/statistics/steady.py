"""Steady state of back-to-back runs (METHOD §4): has a device under load settled, at what rate, and when.

Of the rates x(0)…x(n-1) the first k are cut off, k ≤ n/2 minimising Var(x[k:])/(n-k) (White, An effective
truncation heuristic for bias reduction in simulation output, 1997: "MSER"). With y = x[k:], m = median(y),
s = 1.4826·MAD(y)/m and drift = |Theil–Sen slope|·(len(y)-1)/m they are steady iff

    k is below its bound (else they were still changing half-way),
    drift ≤ max(2 %, 3s), and the slope's 95 % interval holds 0 or drift ≤ 2 %,
    |mean(last three)/m - 1| ≤ max(2 %, 3s/√3).

The slope's interval is Sen's (Estimates of the regression coefficient based on Kendall's tau, 1968), with the
variance corrected for ties. runners/llama_cpp_sustained.py carries the same rule; a test holds them equal.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from quantfarm.statistics.summary import Summary, summarise

FEWEST = 10
TOLERANCE = 0.02
#: How many standard deviations drift (and, over √3, the mean of three runs) may be.
SIGMAS = 3.0
MAD_TO_SIGMA = 1.4826
#: The normal distribution's 97.5 % quantile.
Z = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """`reason`: why it is not steady; empty where it is. `k`: the first steady run, counted from 0.

    `rate` is of the runs from k on, None where not steady: then there is no number to publish. `drift` (signed)
    and `spread` (1.4826·MAD) are shares of the median. Rates in any unit.
    """

    reason: str
    n: int
    k: int
    first: float
    rate: Summary | None = None
    drift: float = math.nan
    spread: float = math.nan

    @property
    def steady(self) -> bool:
        return self.rate is not None

    @property
    def ratio(self) -> float | None:
        """The throttle ratio: steady rate ÷ first run's rate."""
        return self.rate.value / self.first if self.rate else None


def judge(rates: Sequence[float], temperature: str = "") -> Steady:
    """Whether the rates of runs, in order, have become steady. `temperature`: why the device's own is not; empty
    where it is, or is not known. A rate that is no positive number makes them not steady. Raises nothing."""
    n, first = len(rates), rates[0] if rates else math.nan
    wrong = [i + 1 for i, rate in enumerate(rates) if not (math.isfinite(rate) and rate > 0)]
    if wrong:
        return Steady(reason=f"run {wrong[0]} has no rate", n=n, k=0, first=first)
    if n < FEWEST:
        return Steady(reason=f"{n} runs are fewer than {FEWEST}", n=n, k=0, first=first)
    k = cut(rates)
    kept = rates[k:]
    middle = median(kept)
    spread = MAD_TO_SIGMA * median([abs(rate - middle) for rate in kept]) / middle
    slope, low, high = theil_sen(kept)
    drift = slope * (len(kept) - 1) / middle
    certain = low > 0 or high < 0
    last = sum(kept[-3:]) / 3 / middle - 1
    reason = _unsteady(n, k, drift, certain, spread, last) or temperature
    rate = None if reason else summarise(kept)
    return Steady(reason=reason, n=n, k=k, first=first, rate=rate, drift=drift, spread=spread)


def _unsteady(n: int, k: int, drift: float, certain: bool, spread: float, last: float) -> str:
    """Why the rates are not steady; empty when they are."""
    if k >= n // 2:
        return f"the rate was still changing half-way through {n} runs"
    if abs(drift) > max(TOLERANCE, SIGMAS * spread) or (certain and abs(drift) > TOLERANCE):
        return f"the rate drifts by {100 * drift:+.1f} % over runs {k + 1} to {n}"
    if abs(last) > max(TOLERANCE, SIGMAS * spread / math.sqrt(3)):
        return f"the last three of {n} runs are {100 * last:+.1f} % from the median of runs {k + 1} to {n}"
    return ""


def cut(rates: Sequence[float]) -> int:
    """How many runs are cut off at the start: the k ≤ n/2 of the least Var(x[k:])/(n-k), the first of equals."""
    n = len(rates)
    return min(range(n // 2 + 1), key=lambda k: _variance(rates[k:]) / (n - k))


def _variance(values: Sequence[float]) -> float:
    """About the first value: of equal ones exactly 0, so that rounding does not decide between cuts. (A product,
    since ** raises where it overflows.)"""
    apart = [value - values[0] for value in values]
    mean = sum(apart) / len(apart)
    return sum((one - mean) * (one - mean) for one in apart) / len(apart)


def theil_sen(values: Sequence[float]) -> tuple[float, float, float]:
    """The median of the slopes between any two of n ≥ 2 values a step apart, and its 95 % interval (Sen 1968)."""
    n = len(values)
    slopes = sorted((values[j] - values[i]) / (j - i) for i in range(n) for j in range(i + 1, n))
    ties = [count for count in Counter(values).values() if count > 1]
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    width = Z * math.sqrt(variance)
    low = max(round((len(slopes) - width) / 2) - 1, 0)
    high = min(round((len(slopes) + width) / 2), len(slopes) - 1)
    return median(slopes), slopes[low], slopes[high]
