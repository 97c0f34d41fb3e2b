"""Where the level of a nightly series changed: E-divisive in windows with a t-test, after Apache Otava.

The method is Otava's (Fleming et al., Hunter: using change point detection to hunt for performance
regressions, 2023): windows that overlap by half are divided at a relaxed p; what they found together is
then thinned, weakest first, until each point that is left is significant and large enough between its
neighbours. With `min_points` = 1 this is Otava to the last point, with two errors of Otava's that its own
expectations contain: variances divided by n, and a left neighbour that is not tested again after a
removal. From 2 on both are mended, a change stands where it splits its neighbourhood best, and it must be
carried by `min_points` values on each side, so that no outlier is an alarm, wherever it stands
(docs/decisions/0008-change-points.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from quantfarm.statistics.divisive import Vector, divide
from quantfarm.statistics.significance import t_test_p

#: A lone value this many standard deviations off both its neighbours says nothing about their level.
SPIKE = 6.0
#: Median |difference| of neighbours ÷ standard deviation, of normal noise: √2 · Φ⁻¹(¾).
_DIFFERENCE_TO_DEVIATION = math.sqrt(2) * 0.6744897501960817
#: Dividing takes the square of this many values in time and memory.
LONGEST_WINDOW = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`magnitude` is relative (0.03: 3 %). Raises ValueError for what cannot work."""

    window: int = 30
    p: float = 1e-4
    magnitude: float = 0.03
    min_points: int = 3

    def __post_init__(self) -> None:
        if self.min_points < 1:
            raise ValueError(f"min-points is at least 1, not {self.min_points}")
        # Windows overlap by half: from this on each place lies in one with min_points on both sides.
        least = 4 * self.min_points - 2
        if not least <= self.window <= LONGEST_WINDOW:
            raise ValueError(
                f"with {self.min_points} min-points the window is {least} to {LONGEST_WINDOW} runs, not {self.window}"
            )
        if not 0 < self.p < 1:
            raise ValueError(f"p lies between 0 and 1, not {self.p}")
        if not 0 <= self.magnitude < math.inf:
            raise ValueError(f"the magnitude is a share of 0 or more, not {self.magnitude}")

    @property
    def as_otava(self) -> bool:
        """Whether to do exactly what Otava does."""
        return self.min_points == 1

    @property
    def first_p(self) -> float:
        """What dividing takes for significant: relaxed, because a neighbour can hide a change at first."""
        if self.p < 0.05:
            return self.p * 10
        return self.p * 2 if self.p < 0.5 else self.p


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePoint:
    """`index` is the first value of the new level, counted from 0.

    `before`, `after`: medians between the neighbouring change points (means with min_points = 1), over
    `points_before`, `points_after` values. `relative_size` = (after - before) / |before|: -0.05 is 5 % less; None
    where there is no such number, as from a level of 0.
    """

    index: int
    direction: Literal["up", "down"]
    relative_size: float | None
    p: float
    before: float
    after: float
    mean_before: float
    mean_after: float
    points_before: int
    points_after: int


@dataclass(frozen=True, slots=True)
class _Step:
    """The difference at one candidate between its neighbours; `carried`: by enough values on each side."""

    p: float
    magnitude: float
    carried: bool


def change_points(values: Sequence[float] | Vector, settings: Settings | None = None) -> list[ChangePoint]:
    """The changes of level of a series in the order of its runs. Raises ValueError unless all are finite."""
    settings = settings or Settings()
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or not np.isfinite(given).all():
        raise ValueError("a series is a list of finite numbers: leave out runs without data")
    if len(given) < 2 * settings.min_points:
        return []
    # By a power of two, so that no digit changes and no sum of whatever values overflows.
    exponent = int(np.frexp(np.abs(given).max())[1])
    x = np.ldexp(given, -exponent)
    smooth = x if settings.as_otava else without_spikes(x)
    found = _thinned(x, smooth, _candidates(smooth, settings), settings)
    if not settings.as_otava:  # and once more: whoever moved away may not be carried there
        found = _thinned(x, smooth, _settled(smooth, found, settings), settings)
    ends = [0, *found, len(x)]
    return [_reported(x, smooth, ends[i : i + 3], exponent, settings) for i in range(len(found))]


def without_spikes(x: Vector) -> Vector:
    """Lone values far off both neighbours on the same side take the nearer neighbour's place.

    One such value widens the variance of all that is tested with it: a step after it would not be seen for
    weeks. The last value has no neighbour after it, and stays.
    """
    if len(x) < 3:
        return x
    steps = np.diff(x)
    far = SPIKE * float(np.median(np.abs(steps))) / _DIFFERENCE_TO_DEVIATION
    up, down = steps[:-1], -steps[1:]
    lone = (np.minimum(np.abs(up), np.abs(down)) > far) & (np.sign(up) == np.sign(down))
    middle = np.median(np.stack([x[:-2], x[1:-1], x[2:]]), axis=0)
    return np.concatenate([x[:1], np.where(lone, middle, x[1:-1]), x[-1:]])


def _candidates(x: Vector, settings: Settings) -> list[int]:
    """What dividing finds in each window; a window begins at the last change found, or half a window on."""
    test = partial(t_test_p, population=settings.as_otava)
    found: set[int] = set()
    start = 0
    while start < len(x):
        window = x[start : start + settings.window]
        here = [start + i for i in divide(window, test, settings.first_p, settings.min_points)]
        found.update(here)
        start = max(here[-1] if here else 0, start + settings.window // 2)
    return sorted(found)


def _settled(x: Vector, candidates: Sequence[int], settings: Settings) -> list[int]:
    """Each candidate where it splits the values between its neighbours best by least squares.

    At most `min_points` away: a window that ends right after a change finds it that much too early.
    """
    found, least = list(candidates), settings.min_points
    for place, index in enumerate(candidates):
        start, _, end = [0, *found, len(x)][place : place + 3]
        near = range(max(index - least, start + least), min(index + least, end - least) + 1)
        if near:
            found[place] = max(near, key=partial(_squares_between, x[start:end], start))
    return found


def _squares_between(x: Vector, start: int, index: int) -> float:
    """How much of the sum of squares of x[0], … = series[start], … a split at `index` explains, times len(x)."""
    left, right = x[: index - start], x[index - start :]
    return len(left) * len(right) * float(np.mean(left) - np.mean(right)) ** 2


def _thinned(x: Vector, smooth: Vector, candidates: Sequence[int], settings: Settings) -> list[int]:
    """Drops the weakest until all that are left are significant, large enough and carried."""
    found = list(candidates)
    steps = [_step(x, smooth, found, i, settings) for i in range(len(found))]
    while found:
        weakest = _weakest(steps, settings)
        if weakest is None:
            break
        del found[weakest], steps[weakest]
        # The neighbours' levels are longer now. Otava takes the second from the right for the left one.
        for i in (weakest, weakest + 1) if settings.as_otava else (weakest - 1, weakest):
            if 0 <= i < len(found):
                steps[i] = _step(x, smooth, found, i, settings)
    return found


def _weakest(steps: Sequence[_Step], settings: Settings) -> int | None:
    """The one to drop: not carried first, then by p, then by magnitude; None when all may stay."""
    every = range(len(steps))
    loose = [i for i in every if not steps[i].carried]
    weakest = max(loose or every, key=lambda i: steps[i].p)
    if loose or steps[weakest].p >= settings.p:
        return weakest
    smallest = min(every, key=lambda i: steps[i].magnitude)
    return smallest if steps[smallest].magnitude <= settings.magnitude else None


def _step(x: Vector, smooth: Vector, found: Sequence[int], place: int, settings: Settings) -> _Step:
    start, index, end = [0, *found, len(x)][place : place + 3]
    left, right = smooth[start:index], smooth[index:end]
    p = t_test_p(left, right, population=settings.as_otava)
    magnitude = _magnitude(float(np.mean(left)), float(np.mean(right)))
    if settings.as_otava:
        return _Step(p, magnitude, carried=True)
    left, right = x[start:index], x[index:end]
    typical = _magnitude(float(np.median(left)), float(np.median(right)))
    return _Step(p, min(magnitude, typical), _carried(left, right, settings.min_points))


def _magnitude(before: float, after: float) -> float:
    """The greater of the relative changes forth and back; a level of 0 has none to be relative to."""
    change = abs(after - before)
    return max((change / abs(level) for level in (before, after) if level), default=0.0)


def _mean(x: Vector) -> float:
    """Within the values whatever the rounding: the greatest of all doubles must not be passed."""
    return float(np.clip(np.mean(x), x.min(), x.max()))


def _carried(left: Vector, right: Vector, least: int) -> bool:
    """Whether `least` values of each side lie on their side of the middle between the two medians."""
    low, high = float(np.median(left)), float(np.median(right))
    sign = 1.0 if high > low else -1.0
    middle = (low + high) / 2
    on_left = np.count_nonzero(sign * (left - middle) < 0)
    on_right = np.count_nonzero(sign * (right - middle) > 0)
    return bool(min(on_left, on_right) >= least)


def _reported(x: Vector, smooth: Vector, ends: Sequence[int], exponent: int, settings: Settings) -> ChangePoint:
    start, index, end = ends
    left, right = x[start:index], x[index:end]
    means = _mean(left), _mean(right)
    before, after = means if settings.as_otava else (float(np.median(left)), float(np.median(right)))
    size = (after - before) / abs(before) if before else math.inf
    return ChangePoint(
        index=index,
        direction="up" if after > before else "down",
        relative_size=size if math.isfinite(size) else None,
        p=t_test_p(smooth[start:index], smooth[index:end], population=settings.as_otava),
        before=math.ldexp(before, exponent),
        after=math.ldexp(after, exponent),
        mean_before=math.ldexp(means[0], exponent),
        mean_after=math.ldexp(means[1], exponent),
        points_before=index - start,
        points_after=end - index,
    )
