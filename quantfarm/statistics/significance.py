"""Whether a difference could be chance: Student's t-test, and Benjamini–Hochberg over many of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

#: Keeps Lentz's fractions from dividing by zero; far below every double that matters here.
_TINY = 1e-300
_EPSILON = 1e-15


def t_test_p(left: Vector, right: Vector, *, population: bool = False) -> float:
    """Two-sided p of Student's t-test with pooled variance; 1 where two samples have no spread to learn from.

    `population` divides each sum of squares by n in place of n - 1, as Apache Otava does: p comes out too
    small, the more so the shorter the samples.
    """
    n, m = len(left), len(right)
    freedom = n + m - 2
    if freedom <= 0:
        return 1.0
    # From a point of the sample itself: constant samples must come out as exactly equal or without spread.
    origin = float(left[0])
    a, b = left - origin, right - origin
    squares = (n - 1) * _variance(a, population) + (m - 1) * _variance(b, population)
    error = math.sqrt(squares / freedom * (1 / n + 1 / m))
    difference = float(np.mean(b) - np.mean(a))
    if error == 0:
        return 0.0 if difference else 1.0
    return student_p(difference / error, freedom)


def _variance(x: Vector, population: bool) -> float:
    return float(np.var(x, ddof=0 if population else 1)) if len(x) > 1 else 0.0


def student_p(t: float, freedom: float) -> float:
    """P(|T| ≥ |t|) of Student's t with `freedom` > 0 degrees: I_x(ν/2, ½), x = ν/(ν + t²)."""
    square = t * t
    if math.isinf(square):
        return 0.0
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + square), square / (freedom + square))


@functools.cache
def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by bisection of its distribution function."""
    low, high = 0.0, 13.0  # t(1) is 12.706
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_p(middle, freedom) > 0.05 else (low, middle)
    return high


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """The regularised I_x(a, b); `rest` is 1 - x, given apart because near 1 a subtraction would lose it."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    if x < (a + 1) / (a + b + 2):
        return math.exp(front) * _fraction(a, b, x) / a
    return 1 - math.exp(front) * _fraction(b, a, rest) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    c, d = 1.0, 1 / _apart_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1 / _apart_from_zero(1 + term * d)
            c = _apart_from_zero(1 + term / c)
            step = c * d
            value *= step
        if abs(step - 1) < _EPSILON:
            break
    return value


def _apart_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def discoveries(p: Sequence[float], rate: float = 0.05) -> list[bool]:
    """Which of many p values count when at most `rate` of those that count may be chance (Benjamini–Hochberg).

    With p(1) ≤ … ≤ p(n), all up to the last p(k) ≤ rate·k/n. Raises ValueError for what is no probability.
    """
    if not all(0 <= one <= 1 for one in (*p, rate)):
        raise ValueError(f"p values and the rate lie between 0 and 1, not {[*p, rate]}")
    ascending = sorted(p)
    bars = (one for k, one in enumerate(ascending, start=1) if one <= rate * k / len(p))
    bar = max(bars, default=-1.0)
    return [one <= bar for one in p]
