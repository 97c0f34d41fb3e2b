"""What both plots share: intervals, room around the points, and what labels must not cover."""

# pyright: reportUnknownMemberType=false
# (matplotlib's own annotations leave **kwargs untyped)
from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from quantfarm.candidates import Candidate
from quantfarm.report.figures import MAD_TO_SD
from quantfarm.statistics.increase import base_of, increase
from quantfarm.statistics.resample import key
from quantfarm.statistics.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # what is here without it is asked for by who draws otherwise

Range = tuple[float, float]
Point = tuple[float, float]


def heading(what: str, candidate: Candidate) -> str:
    simulated = " (simulated)" if candidate.simulated else ""
    return f"{what}: {candidate.model} on {candidate.device}{simulated}"


def interval(summary: Summary) -> Range:
    if summary.low is not None and summary.high is not None:
        return summary.low, summary.high
    spread = MAD_TO_SD * summary.mad
    return summary.value - spread, summary.value + spread


def ppl_range(candidate: Candidate, candidates: Sequence[Candidate]) -> Range:
    """The interval of the difference to F16 put around the candidate's perplexity; its own where there is no F16.

    Perplexities of one text share its difficulty: their own intervals overlap where their order is clear.
    """
    value = candidate.figures["ppl"].value
    base = base_of(candidates, candidate.runtime)
    if base is not None and key(base) == key(candidate):
        return value, value
    loss = increase(candidate, base) if base else None
    if loss is None:
        return interval(candidate.figures["ppl"])
    return value * math.exp(loss.low - loss.nats), value * math.exp(loss.high - loss.nats)


def limits(axes: Axes, xs: Sequence[Range], ys: Sequence[Range]) -> None:
    """Room for labels around everything drawn."""
    for low_high, setlimits, room in ((xs, axes.set_xlim, 0.09), (ys, axes.set_ylim, 0.13)):
        low, high = min(r[0] for r in low_high), max(r[1] for r in low_high)
        span = (high - low) or abs(high) * 0.1 or 1.0
        setlimits(low - room * span, high + room * span)


def sampled_bars(at: Sequence[Point], spans: Sequence[tuple[Range, Range]]) -> list[Point]:
    across = [
        (low + (high - low) * i / 10, y) for (_, y), ((low, high), _) in zip(at, spans, strict=True) for i in range(11)
    ]
    up = [
        (x, low + (high - low) * i / 10) for (x, _), (_, (low, high)) in zip(at, spans, strict=True) for i in range(11)
    ]
    return across + up


def polyline(points: Sequence[Point], *, logarithmic: bool = False) -> list[Point]:
    """Points sampled along straight lines (on a logarithmic x axis where it is one)."""
    return [
        (x0 * (x1 / x0) ** (i / 30) if logarithmic else x0 + (x1 - x0) * i / 30, y0 + (y1 - y0) * i / 30)
        for (x0, y0), (x1, y1) in itertools.pairwise(points)
        for i in range(31)
    ]


def paled(colour: str, strength: float) -> str:
    """A colour as it looks on paper at an opacity: solid, so that nothing shows through."""
    channels = [round(255 + (int(colour[i : i + 2], 16) - 255) * strength) for i in (1, 3, 5)]
    return "#" + "".join(f"{c:02x}" for c in channels)
