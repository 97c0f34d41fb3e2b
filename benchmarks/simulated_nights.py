"""Series of nights as a farm would see them, with and without a change; seeds fixed. See `detector.py`.

An *alert* is a change point on any night as the series grows, night by night, which is what a farm that looks each
morning would tell. *Caught* is a step named within a night of its place by the third night of the new level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantfarm.statistics.changes import ChangePoint, Settings, change_points
from quantfarm.statistics.pairs import paired_ratio
from quantfarm.statistics.significance import discoveries, t_test_p

Vector = NDArray[np.float64]
SERIES, NIGHTS, FIRST = 200, 60, 6
WITHIN = 3  # nights to catch a step in
#: A rerun: this many interleaved pairs, or launches of the new alone.
PAIRS, LAUNCHES = 8, 8
#: What a confirmation must show: METHOD.md §5.
RATE, LEAST = 0.05, 0.02


def normal(rng: np.random.Generator, n: int) -> Vector:
    return rng.normal(size=n)


def heavy(rng: np.random.Generator, n: int) -> Vector:
    """Student's t with 3 degrees, not rescaled: its middle is as wide as the normal's, its tails are not."""
    return rng.standard_t(3, size=n)


def bad_nights(rng: np.random.Generator, n: int) -> Vector:
    """Normal, and on 3 % of nights 20 standard deviations low."""
    return rng.normal(size=n) - 20 * (rng.random(n) < 0.03)


def autoregressive(rng: np.random.Generator, n: int, rho: float = 0.5) -> Vector:
    """Each night keeps half of the one before; its standard deviation is 1."""
    x, fresh = np.empty(n), rng.normal(size=n)
    x[0] = fresh[0]
    for i in range(1, n):
        x[i] = rho * x[i - 1] + math.sqrt(1 - rho**2) * fresh[i]
    return x


Noise = Callable[[np.random.Generator, int], Vector]
NOISES: Mapping[str, tuple[Noise, float]] = {
    "white noise, cv 1 %": (normal, 0.01),
    "white noise, cv 3 %": (normal, 0.03),
    "heavy tails (Student's t, 3 degrees), scale 1 %": (heavy, 0.01),
    "cv 1 %, 3 % of nights 20 % low": (bad_nights, 0.01),
    "AR(0.5), cv 1 %": (autoregressive, 0.01),
    "AR(0.5), cv 3 %": (autoregressive, 0.03),
}


def nights(seed: int, noise: Noise, cv: float, n: int = NIGHTS) -> Vector:
    return 100 * (1 + cv * noise(np.random.default_rng(seed), n))


def wilson(hits: int, of: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    p, spread = hits / of, z * z / of
    middle = (p + spread / 2) / (1 + spread)
    half = z * math.sqrt(p * (1 - p) / of + spread / (4 * of)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def share(hits: int, of: int) -> dict[str, float]:
    low, high = wilson(hits, of)
    return {"hits": hits, "of": of, "share": hits / of, "low": round(low, 4), "high": round(high, 4)}


# --- no change ---


@dataclass(frozen=True, slots=True)
class Alert:
    seed: int
    night: int  # nights seen when it was told
    change: ChangePoint


def first_alert(seed: int, x: Vector, settings: Settings | None = None) -> Alert | None:
    for n in range(FIRST, len(x) + 1):
        if found := change_points(x[:n], settings):
            return Alert(seed, n, found[-1])
    return None


def alerts(noise: Noise, cv: float, settings: Settings | None = None) -> list[Alert]:
    """The first alert of each of the A/A series that has one."""
    found = (first_alert(seed, nights(seed, noise, cv), settings) for seed in range(SERIES))
    return [one for one in found if one]


def confirmed(told: list[Alert], noise: Noise, cv: float, how: str) -> int:
    """How many false alerts outlive measuring again: Benjamini–Hochberg over each night, and at least 2 %.

    Interleaved launches share their night, so only the noise of launches (taken to be as wide as that of nights,
    and independent) is in their ratios. A repeat is of one night, so all of its launches carry that night's.
    """
    left = 0
    for night in sorted({one.night for one in told}):
        reruns = [_rerun(one, noise, cv, how) for one in told if one.night == night]
        kept = discoveries([p for p, _ in reruns], RATE)
        left += sum(keep and abs(ratio - 1) >= LEAST for keep, (_, ratio) in zip(kept, reruns, strict=True))
    return left


def _rerun(alert: Alert, noise: Noise, cv: float, how: str) -> tuple[float, float]:
    """(p, ratio) of measuring again when nothing has changed."""
    rng = np.random.default_rng([alert.seed, alert.night])
    if how == "interleaved":
        return interleaved(rng, 1.0, cv)
    x = nights(alert.seed, noise, cv)
    before = x[: alert.change.index]
    tonight = x[alert.night - 1] * (1 + cv * rng.normal(size=LAUNCHES))
    return t_test_p(before, tonight), float(np.median(tonight) / np.median(before))


def interleaved(rng: np.random.Generator, ratio: float, cv: float) -> tuple[float, float]:
    """(p, estimate) of interleaved pairs where the new is `ratio` times the old."""
    old, new = (1 + cv * rng.normal(size=PAIRS) for _ in range(2))
    found = paired_ratio(list(old), list(new * ratio))
    return found.p, found.ratio


def confirms(ratio: float, cv: float, times: int = 1000) -> int:
    """Of so many interleaved reruns, how many call it changed."""
    rng = np.random.default_rng(5)
    outcomes = (interleaved(rng, ratio, cv) for _ in range(times))
    return sum(p <= RATE and abs(estimate - 1) >= LEAST for p, estimate in outcomes)


# --- a step ---


@dataclass(frozen=True, slots=True)
class Step:
    """`delay`: nights of the new level seen when it was told, None when it was not by the end."""

    by: float
    delay: int | None
    place_error: int = 0
    size_error: float = 0.0


def step(seed: int, size: float, noise: Noise, cv: float, settings: Settings | None = None) -> Step:
    """A step of ± `size` after night 12 to 57 (so that three nights of the new level follow)."""
    at, by = 12 + seed % 46, (-size, size)[seed % 2]
    x = nights(seed, noise, cv)
    x[at:] *= 1 + by
    for n in range(at + 1, NIGHTS + 1):
        for change in change_points(x[:n], settings):
            if abs(change.index - at) <= 1 and (change.direction == "up") == (by > 0):
                return Step(by, n - at, change.index - at, (change.relative_size or math.inf) - by)
    return Step(by, None)


def steps(size: float, noise: Noise = normal, cv: float = 0.01, settings: Settings | None = None) -> list[Step]:
    return [step(seed, size, noise, cv, settings) for seed in range(SERIES)]


def caught(found: list[Step], within: int = WITHIN) -> int:
    return sum(one.delay is not None and one.delay <= within for one in found)


# --- neither a step nor nothing ---


def drifting(seed: int, by: float, cv: float) -> Vector:
    """`by` of the level is gone by the last night, a little each night."""
    return nights(seed, normal, cv) * np.linspace(1, 1 - by, NIGHTS)


def drift_told(by: float, cv: float = 0.01) -> tuple[int, list[int]]:
    """How many drifting series alert, and on which nights."""
    found = [first_alert(seed, drifting(seed, by, cv)) for seed in range(SERIES)]
    told = [one.night for one in found if one]
    return len(told), told


def outlier_alarms(size: float, cv: float = 0.01) -> int:
    """How many of the series alarm on one bad last night."""
    count = 0
    for seed in range(SERIES):
        x = nights(seed, normal, cv)
        x[-1] *= 1 + size
        count += bool(change_points(x))
    return count
