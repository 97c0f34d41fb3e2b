"""One metric of many candidates as arrays: each object is read once, whatever is then asked of a group of 10⁵."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantfarm.candidates import Candidate

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Column:
    """Of n candidates: the figure's value (NaN where there is none), how many launches, and the least and the
    greatest of them; the figure's value where launches were not kept."""

    value: Array
    launches: NDArray[np.intp]
    least: Array
    most: Array

    def of(self, which: NDArray[Any]) -> Column:
        return Column(self.value[which], self.launches[which], self.least[which], self.most[which])


def column(candidates: Sequence[Candidate], metric: str) -> Column:
    """Of one candidate or more."""
    figures = [c.figures.get(metric) for c in candidates]
    value = np.array([figure.value if figure else np.nan for figure in figures], dtype=np.float64)
    launches = [c.launches.get(metric, ()) for c in candidates]
    counts = np.fromiter(map(len, launches), dtype=np.intp, count=len(launches))
    least, most, kept = value.copy(), value.copy(), counts > 0
    if kept.any():
        flat = np.fromiter(chain.from_iterable(launches), dtype=np.float64, count=int(counts.sum()))
        starts = (np.cumsum(counts) - counts)[kept]
        least[kept], most[kept] = np.minimum.reduceat(flat, starts), np.maximum.reduceat(flat, starts)
    return Column(value, np.maximum(counts, 1), least, most)
