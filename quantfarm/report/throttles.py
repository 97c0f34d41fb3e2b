"""Sustained launches as they are told: what came of each, and how its time is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quantfarm.metrics.sustained import Sustained, sustained
from quantfarm.nouns import Landed, Trace
from quantfarm.report.figures import number
from quantfarm.statistics.summary import Summary

#: From here on (s) time is told in minutes.
MINUTES_FROM_S = 240.0
HEAT = "#C44E2B"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """One sustained launch. `build`: the runtime's. `conditions`: as landed, of which the power mode is told."""

    device: str
    model: str
    variant: str
    build: str
    found: Sustained
    chip: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict[str, Any])
    simulated: bool = False


def throttle_of(landed: Landed, trace: Trace) -> Throttle | None:
    """None of a launch that is no finished sustained load."""
    found = sustained(trace)
    if found is None:
        return None
    cell = landed.cell
    return Throttle(
        device=cell.profile.name,
        model=cell.variant.model,
        variant=cell.variant.name,
        build=cell.build or cell.runtime,
        found=found,
        chip=cell.profile.chip,
        conditions=landed.conditions,
        simulated=cell.profile.simulated,
    )


def in_words(found: Sustained) -> str:
    """What came of it: `Throttles to 52 % of the first run: 25.0 tok/s (24.9–25.1) from 26 s on`."""
    verdict, after = found.verdict, found.to_steady_s
    if verdict.rate is None or verdict.ratio is None or after is None:
        return f"Not steady, so there is no steady rate: {verdict.reason}"
    rate = f"{number(verdict.rate.value)} tok/s{_interval(verdict.rate)}"
    when = "from the first run on" if verdict.k == 0 else f"from {number(after, 2)} s on (run {verdict.k + 1})"
    percent = f"{100 * verdict.ratio:.0f} % of the first run's rate"
    if abs(verdict.ratio - 1) <= 0.02:
        return f"Does not throttle: {rate} {when}, {percent}"
    return f"{'Throttles' if verdict.ratio < 1 else 'Quickens'} to {percent}: {rate} {when}"


def _interval(rate: Summary) -> str:
    return f" ({number(rate.low)}–{number(rate.high)})" if rate.low is not None else ""


def since(found: Sustained, t: int) -> float:
    """Seconds since the first prompt of a time `t` (ns of the device's clock)."""
    return (t - found.runs[0].submitted) / 1e9


def unit(found: Sustained) -> tuple[str, float]:
    """How time is told, and its seconds."""
    return ("min", 60.0) if since(found, found.runs[-1].finished) > MINUTES_FROM_S else ("s", 1.0)
