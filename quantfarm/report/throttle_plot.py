"""Sustained load as a picture: the rate of each run over time, the temperature below, the steady part marked."""

# pyright: reportUnknownMemberType=false
# (matplotlib's own annotations leave **kwargs untyped)
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from quantfarm.metrics.sustained import Run, Sustained, sustained
from quantfarm.nouns import Landed, Trace
from quantfarm.report import drawing
from quantfarm.report.conditions import power_mode
from quantfarm.report.figures import number, plural
from quantfarm.report.palette import INK, MUTED, PAPER, SHADE, colour
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


def throttle_svg(shown: Throttle) -> str:
    """The launch as SVG, the same for the same launch."""
    found, (unit, scale) = shown.found, _unit(shown.found)
    heat = [(_since(found, t) / scale, c) for t, c in found.temperatures]
    until = _since(found, found.runs[-1].finished) / scale
    with drawing.figure(9.2, 5.6) as (drawn, axes):
        axes.set_position((0.085, 0.455, 0.885, 0.385) if heat else (0.085, 0.19, 0.885, 0.65))
        axes.set_xlim(-0.02 * until, 1.02 * until)
        _steady(axes, found, scale)
        _rates(axes, shown, scale)
        lowest = axes
        if heat:
            axes.tick_params(labelbottom=False)
            lowest = _temperature(drawn, axes, shown, heat)
        lowest.set_xlabel(f"time since the first prompt ({unit})", labelpad=6)
        mark = " (simulated)" if shown.simulated else ""
        title = f"Sustained load: {shown.model} {shown.variant} on {shown.device}{mark}"
        drawing.title(drawn, title, in_words(found), _foot(shown))
        return drawing.svg(drawn)


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


def _since(found: Sustained, t: int) -> float:
    return (t - found.runs[0].submitted) / 1e9


def _unit(found: Sustained) -> tuple[str, float]:
    """How time is told, and its seconds."""
    return ("min", 60.0) if _since(found, found.runs[-1].finished) > MINUTES_FROM_S else ("s", 1.0)


def _rates(axes: Axes, shown: Throttle, scale: float) -> None:
    """Each run as long as its decoding took, with a point in its middle; runs before the steady part are hollow."""
    found, fill = shown.found, colour(shown.variant)
    verdict = found.verdict
    for index, run in enumerate(found.runs):
        settled = verdict.steady and index >= verdict.k
        left, right = (_since(found, t) / scale for t in (run.began, run.finished))
        axes.hlines(run.rate, left, right, color=fill, linewidth=2.2, zorder=3)
        face = fill if settled else PAPER
        axes.scatter([(left + right) / 2], [run.rate], s=26, color=face, edgecolor=fill, linewidth=1.3, zorder=4)
    axes.set_ylim(*_room(found.runs))
    axes.set_ylabel("decode speed by run (tok/s)", labelpad=6)


def _room(runs: tuple[Run, ...]) -> tuple[float, float]:
    """From nothing, so that half the speed looks like half."""
    return 0.0, 1.18 * max(run.rate for run in runs)


def _steady(axes: Axes, found: Sustained, scale: float) -> None:
    """Where it is steady: shaded, with the median as a line and its interval as a band."""
    verdict = found.verdict
    if verdict.rate is None:
        return
    left, right = (_since(found, t) / scale for t in (found.runs[verdict.k].submitted, found.runs[-1].finished))
    axes.axvspan(left, right, color=SHADE, linewidth=0, zorder=0)
    if verdict.rate.low is not None and verdict.rate.high is not None:
        axes.fill_between([left, right], verdict.rate.low, verdict.rate.high, color=MUTED, alpha=0.25, linewidth=0)
    axes.hlines(verdict.rate.value, left, right, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=2)
    where = (left + right) / 2, 1.1 * max(run.rate for run in found.runs)
    axes.text(*where, "steady", ha="center", va="center", fontsize=8.5, color=MUTED, style="italic")


def _temperature(drawn: Figure, above: Axes, shown: Throttle, heat: list[tuple[float, float]]) -> Axes:
    axes = drawn.add_axes((0.085, 0.19, 0.885, 0.225), facecolor=PAPER, sharex=above)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=above.spines["left"].get_edgecolor(), linewidth=0.5, alpha=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6)
    axes.plot([x for x, _ in heat], [c for _, c in heat], color=HEAT, linewidth=1.4)
    low, high = min(c for _, c in heat), max(c for _, c in heat)
    room = max(0.15 * (high - low), 2.5)  # what does not change looks so
    axes.set_ylim(low - room, high + room)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylabel("°C", labelpad=6)
    axes.text(1, 1.02, shown.found.reading, transform=axes.transAxes, ha="right", fontsize=7.5, color=MUTED)
    return axes


def _foot(shown: Throttle) -> str:
    found = shown.found
    marks = "point and line: a run, as long as it decoded"
    if found.verdict.steady:
        marks += "; filled: steady; dashed: their median, band: its interval"
    where = [shown.device, shown.chip, shown.variant, shown.build, power_mode(shown.conditions)]
    where += ["hot start"] if shown.conditions.get("hot_start") else []
    said = [] if found.reading else ["temperature unknown"]
    told = " · ".join(part for part in [*where, *said, "ambient temperature unknown"] if part)
    made = "Made up by a script: nothing was measured. " if shown.simulated else ""
    return f"{made}{plural(len(found.runs), 'run')} back to back, {marks}.\n{told}"
