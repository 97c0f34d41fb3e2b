"""Who is on the frontier: speed × quality with memory as area and probability as opacity."""

# pyright: reportUnknownMemberType=false
# (matplotlib's own annotations leave **kwargs untyped)
from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from quantfarm.candidates import Candidate
from quantfarm.report import drawing
from quantfarm.report.figures import number
from quantfarm.report.palette import INK, MUTED, PAPER, colour
from quantfarm.report.scene import Point, Range, heading, interval, limits, paled, polyline, ppl_range, sampled_bars
from quantfarm.statistics.frontier import Frontier, Standing
from quantfarm.statistics.resample import MEMORY, key

SPEEDS = {"decode_tps": "decode speed (tokens per second)", "bench_tg": "token generation (tokens per second)"}
QUALITIES = {"ppl": "perplexity (lower is better)", "kld_mean": "mean KL divergence to F16 (nat, lower is better)"}
#: Marker areas in pt² of the smallest and the largest resident memory shown.
SMALLEST, LARGEST = 55.0, 330.0


def pareto_svg(frontier: Frontier, chosen: Candidate | None = None, *, subtitle: str = "") -> str:
    """Speed × quality with memory as area and P(non-dominated) as opacity; better is up and to the right.

    Raises ValueError for a frontier without standings.
    """
    if not frontier.standings:
        raise ValueError("nothing to draw: no candidate can be compared")
    shown = frontier.standings
    with drawing.figure() as (drawn, axes):
        spans = [_spans(s, frontier) for s in shown]
        limits(axes, [x for x, _ in spans], [y for _, y in spans])
        axes.invert_yaxis()
        line = _frontier_line(axes, frontier)
        radii = _points(axes, shown, spans, frontier, chosen)
        axes.text(1, 1.015, "better ↗", transform=axes.transAxes, ha="right", fontsize=8.5, color=MUTED, style="italic")
        axes.set_xlabel(SPEEDS.get(frontier.speed, frontier.speed), labelpad=6)
        axes.set_ylabel(QUALITIES.get(frontier.quality, frontier.quality), labelpad=6)
        at = [_at(s.candidate, frontier) for s in shown]
        texts = [_label(s, chosen) for s in shown]
        drawing.annotate(drawn, axes, at, radii, texts, [*line, *sampled_bars(at, spans)])
        drawing.title(
            drawn, heading("Speed, memory and quality", shown[0].candidate), subtitle, _pareto_foot(shown, frontier)
        )
        return drawing.svg(drawn)


def _at(candidate: Candidate, frontier: Frontier) -> tuple[float, float]:
    return candidate.figures[frontier.speed].value, candidate.figures[frontier.quality].value


def _label(standing: Standing, chosen: Candidate | None) -> tuple[str, str]:
    c = standing.candidate
    mark = "★ " if chosen is not None and key(c) == key(chosen) else ""
    return f"{mark}{c.name}", f"{number(c.figures[MEMORY].value)} MiB"


def _pareto_foot(shown: Sequence[Standing], frontier: Frontier) -> str:
    launches = {s.candidate.figures[frontier.speed].n for s in shown}
    bars = "95 % interval over launches" if min(launches) >= 6 else "spread over launches (1.48 × MAD)"
    vertical = "of the difference to F16 on the same chunks" if frontier.quality == "ppl" else "of the mean"
    return (
        "★ recommended · line: best quality at each speed · area: resident memory · "
        "strength of colour: probability of being non-dominated\n"
        f"Bars: {bars}; vertically the 95 % interval {vertical}."
    )


def _spans(standing: Standing, frontier: Frontier) -> tuple[Range, Range]:
    """What the bars of a point cover, in speed and in quality."""
    c = standing.candidate
    quality = c.figures[frontier.quality]
    if frontier.quality == "ppl":
        everyone = [s.candidate for s in frontier.standings] + [c for c, _ in frontier.left_out]
        return interval(c.figures[frontier.speed]), ppl_range(c, everyone)
    return interval(c.figures[frontier.speed]), interval(quality)


def _frontier_line(axes: Axes, frontier: Frontier) -> list[Point]:
    """The staircase of members that no faster member equals in quality; points sampled along it."""
    steps: list[Point] = []
    for standing in frontier.members:  # fastest first
        x, y = _at(standing.candidate, frontier)
        if not steps or y < steps[-1][1]:
            steps += [(x, steps[-1][1])] if steps else []
            steps.append((x, y))
    axes.plot([x for x, _ in steps], [y for _, y in steps], color=MUTED, linewidth=1.1, alpha=0.65, zorder=1)
    return polyline(steps)


def _points(
    axes: Axes,
    shown: Sequence[Standing],
    spans: Sequence[tuple[Range, Range]],
    frontier: Frontier,
    chosen: Candidate | None,
) -> list[float]:
    """Draws markers and bars; the markers' radii in pixels."""
    memories = [s.candidate.figures[MEMORY].value for s in shown]
    least, most = min(memories), max(memories)
    radii: list[float] = []
    for standing, (across, up), memory in zip(shown, spans, memories, strict=True):
        x, y = _at(standing.candidate, frontier)
        area = SMALLEST + (LARGEST - SMALLEST) * ((memory - least) / (most - least) if most > least else 0.3)
        fill = paled(colour(standing.candidate.variant), 0.25 + 0.75 * standing.probability)
        axes.hlines(y, *across, color=fill, linewidth=1.3, zorder=3)
        axes.vlines(x, *up, color=fill, linewidth=1.3, zorder=3)
        best = chosen is not None and key(standing.candidate) == key(chosen)
        if best:
            axes.scatter([x], [y], s=area * 1.0 + 170, facecolor="none", edgecolor=INK, linewidth=1.2, zorder=3)
        axes.scatter([x], [y], s=area, color=fill, edgecolor=PAPER, linewidth=0.8, zorder=4)
        radii.append(math.sqrt((area + (170 if best else 0)) / math.pi) * 100 / 72)
    return radii
