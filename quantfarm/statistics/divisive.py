"""E-divisive: where a series falls into two that differ most in their distribution.

Matteson & James, A nonparametric approach for multiple change point analysis of multivariate data (2014),
with the energy distance of one-dimensional values: mean distance between the sides, less that within each.
The side on the right may end before the series does, so that what comes after does not hide a short change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
#: (left, right) -> p of their being alike.
Test = Callable[[Vector, Vector], float]


def best_split(x: Vector, least: int = 1) -> tuple[float, int] | None:
    """(divergence, index of the first value on the right) with `least` values on each side.

    None where x is too short. O(n²) time and memory.
    """
    n = len(x)
    if n < 2 * least:
        return None
    # sums[i, j]: of all distances between x[:i] and x[:j].
    sums = np.zeros((n + 1, n + 1))
    sums[1:, 1:] = np.abs(x[:, None] - x).cumsum(axis=0).cumsum(axis=1)
    split = np.arange(least, n - least + 1)[:, None]
    end = np.arange(2 * least, n + 1)[None, :]
    fits = end - split >= least
    left, right = split.astype(float), np.where(fits, end - split, 1).astype(float)
    total = np.diagonal(sums)
    across = sums[split, end] - total[split]
    within_left = total[split] / 2
    within_right = (total[end] - 2 * sums[split, end] + total[split]) / 2
    divergence = (2 / (left + right)) * (
        across
        - right * within_left / np.maximum(left - 1, 1)  # one value alone has no distance within
        - left * within_right / np.maximum(right - 1, 1)
    )
    divergence = np.where(fits, divergence, -np.inf)
    at = int(divergence.argmax())
    return float(divergence.flat[at]), least + at // divergence.shape[1]


def divide(x: Vector, test: Test, p: float, least: int = 1) -> list[int]:
    """Splits x where it diverges most, again and again, until the next split is not significant at p."""
    found: list[int] = []
    splits: dict[tuple[int, int], tuple[float, int] | None] = {}
    while True:
        ends = (0, *found, len(x))
        for start, end in pairwise(ends):
            if (start, end) not in splits:
                splits[start, end] = best_split(x[start:end], least)
        candidate = _strongest(ends, splits)
        if candidate is None:
            return found
        start, index, end = candidate
        if test(x[start:index], x[index:end]) > p:
            return found
        found = sorted([*found, index])


def _strongest(
    ends: Sequence[int], splits: dict[tuple[int, int], tuple[float, int] | None]
) -> tuple[int, int, int] | None:
    """(start, index, end) of the split with the greatest divergence; the first of equals."""
    best, strongest = -np.inf, None
    for start, end in pairwise(ends):
        split = splits[start, end]
        if split is not None and split[0] > best:
            best, strongest = split[0], (start, start + split[1], end)
    return strongest
