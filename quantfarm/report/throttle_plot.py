"""Sustained load as a picture: the rate of each run over time, the temperature below, the steady part marked."""

# pyright: reportUnknownMemberType=false
# (matplotlib's own annotations leave **kwargs untyped)
from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from quantfarm.metrics.sustained import Run, Sustained
from quantfarm.report import drawing
from quantfarm.report.conditions import power_mode
from quantfarm.report.figures import plural
from quantfarm.report.palette import INK, MUTED, PAPER, SHADE, colour
from quantfarm.report.throttles import HEAT, Throttle, in_words, since, unit


def throttle_svg(shown: Throttle) -> str:
    """The launch as SVG, the same for the same launch."""
    found, (named, scale) = shown.found, unit(shown.found)
    heat = [(since(found, t) / scale, c) for t, c in found.temperatures]
    until = since(found, found.runs[-1].finished) / scale
    with drawing.figure(9.2, 5.6) as (drawn, axes):
        axes.set_position((0.085, 0.455, 0.885, 0.385) if heat else (0.085, 0.19, 0.885, 0.65))
        axes.set_xlim(-0.02 * until, 1.02 * until)
        _steady(axes, found, scale)
        _rates(axes, shown, scale)
        lowest = axes
        if heat:
            axes.tick_params(labelbottom=False)
            lowest = _temperature(drawn, axes, shown, heat)
        lowest.set_xlabel(f"time since the first prompt ({named})", labelpad=6)
        mark = " (simulated)" if shown.simulated else ""
        title = f"Sustained load: {shown.model} {shown.variant} on {shown.device}{mark}"
        drawing.title(drawn, title, in_words(found), _foot(shown))
        return drawing.svg(drawn)


def _rates(axes: Axes, shown: Throttle, scale: float) -> None:
    """Each run as long as its decoding took, with a point in its middle; runs before the steady part are hollow."""
    found, fill = shown.found, colour(shown.variant)
    verdict = found.verdict
    for index, run in enumerate(found.runs):
        settled = verdict.steady and index >= verdict.k
        left, right = (since(found, t) / scale for t in (run.began, run.finished))
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
    left, right = (since(found, t) / scale for t in (found.runs[verdict.k].submitted, found.runs[-1].finished))
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
