"""A against B from interleaved pairs (ABBA): how many times B is A, its interval, and whether it could be chance.

With d = log(b/a) per pair, the estimate is the Hodges-Lehmann median of the Walsh averages (d_i + d_j)/2,
its interval the one that belongs to the signed-rank test (Hollander & Wolfe, Nonparametric Statistical
Methods, §3.2–3.3), and p the exact sign-flip permutation test of the mean: under no difference every sign
of every d was as likely.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
#: Up to here all 2^n sign patterns are enumerated; beyond, they are drawn.
ENUMERATED = 16
DRAWS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRatio:
    """`ratio` is B ÷ A. `low`, `high` with true `coverage`; None where n is too small for the level asked."""

    ratio: float
    low: float | None
    high: float | None
    p: float
    n: int
    coverage: float | None = None


def paired_ratio(a: Sequence[float], b: Sequence[float], level: float = 0.95, seed: int = 0) -> PairedRatio:
    """B ÷ A of n pairs of positive figures in the order taken; `seed` matters beyond 16 pairs only.

    Raises ValueError when the lengths differ, there are no pairs, or a figure is not positive.
    """
    d = _log_ratios(a, b)
    walsh = _walsh(d)
    rank, coverage = _interval_rank(len(d), level)
    low, high = (math.exp(walsh[rank - 1]), math.exp(walsh[-rank])) if rank else (None, None)
    return PairedRatio(
        ratio=math.exp(np.median(walsh)),
        low=low,
        high=high,
        p=_sign_flip_p(d, seed),
        n=len(d),
        coverage=coverage if rank else None,
    )


def _log_ratios(a: Sequence[float], b: Sequence[float]) -> Vector:
    if len(a) != len(b) or not a:
        raise ValueError(f"pairs wanted: {len(a)} figures of A, {len(b)} of B")
    before, after = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not (np.isfinite([before, after]).all() and (before > 0).all() and (after > 0).all()):
        raise ValueError("a ratio needs finite figures above zero")
    return np.log(after) - np.log(before)


def _walsh(d: Vector) -> Vector:
    """The n(n+1)/2 averages (d_i + d_j)/2, i ≤ j, ascending."""
    i, j = np.triu_indices(len(d))
    return np.sort((d[i] + d[j]) / 2)


def _signed_rank_cdf(n: int) -> Vector:
    """P(W ≤ w), w = 0 … n(n+1)/2, of the signed-rank statistic under no difference."""
    chance = np.zeros(n * (n + 1) // 2 + 1)
    chance[0] = 1.0
    for rank in range(1, n + 1):  # each rank is in the sum or not, with chance ½
        chance[rank:] = (chance[rank:] + chance[:-rank]) / 2
        chance[:rank] /= 2
    return np.cumsum(chance)


def _interval_rank(n: int, level: float) -> tuple[int, float]:
    """The largest k whose interval walsh(k) … walsh(M+1-k) covers at least `level`; 0 where none does."""
    below = _signed_rank_cdf(n)
    k = int(np.count_nonzero(1 - 2 * below >= level - 1e-12))
    return k, float(1 - 2 * below[k - 1]) if k else 0.0


def _sign_flip_p(d: Vector, seed: int) -> float:
    """P(|Σ ±d| ≥ |Σ d|); drawn patterns count the one seen too, so that p is never 0."""
    seen = abs(float(d.sum())) * (1 - 1e-12)  # equal sums must count as equal whatever the rounding
    if len(d) <= ENUMERATED:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(d))))
        return float(np.mean(np.abs(signs @ d) >= seen))
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(DRAWS, len(d)))
    return float((1 + np.count_nonzero(np.abs(signs @ d) >= seen)) / (1 + DRAWS))
