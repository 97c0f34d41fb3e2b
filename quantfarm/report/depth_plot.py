"""Speed by context depth as a picture: what a long conversation costs, variant by variant."""

# pyright: reportUnknownMemberType=false
# (matplotlib's own annotations leave **kwargs untyped)
from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, StrMethodFormatter

from quantfarm.report import drawing
from quantfarm.report.axes_table import Axis, Row
from quantfarm.report.figures import NAMES, share
from quantfarm.report.palette import PAPER, colour
from quantfarm.report.scene import Point, interval
from quantfarm.statistics.summary import Summary, summarise

#: What is drawn, the first of them that was measured.
DRAWN = ("bench_tg", "bench_pp")


def depth_svg(axis: Axis) -> str:
    """Generation speed (prompt processing where there is none) by depth, a line for each variant.

    Raises ValueError for another axis than n_depth, and where no speed was measured along it.
    """
    metric = next((name for name in DRAWN if any(row.metric == name for row in axis.rows)), "")
    if axis.parameter != "n_depth" or not metric:
        raise ValueError("nothing to draw: no speed was measured at several depths")
    rows = [row for row in axis.rows if row.metric == metric]
    with drawing.figure() as (drawn, axes):
        ends: list[Point] = []
        for row in rows:
            ends.append(_line(axes, row))
        _limits(axes, axis, rows)
        axes.set_xlabel("tokens already in the KV cache", labelpad=6)
        axes.set_ylabel(f"{NAMES[metric]} ({rows[0].unit})", labelpad=6)
        texts = [(row.variant, _lost(row)) for row in rows]
        drawing.annotate(drawn, axes, ends, [5.0] * len(rows), texts)
        mark = " (simulated)" if axis.simulated else ""
        title = f"Speed by depth: {axis.model} on {axis.device}{mark}"
        under = " · ".join([*sorted({row.runtime for row in rows}), *sorted({row.workload for row in rows})])
        drawing.title(drawn, title, under, _foot(axis, rows))
        return drawing.svg(drawn)


def _points(row: Row) -> list[tuple[int, Summary]]:
    return sorted((int(str(depth)), summarise(point.values)) for depth, point in row.points.items())


def _line(axes: Axes, row: Row) -> Point:
    """Draws a variant; where its last point is."""
    found, fill = _points(row), colour(row.variant)
    for depth, summary in found:
        axes.vlines(depth, *interval(summary), color=fill, linewidth=1.5, zorder=3)
    x, y = [depth for depth, _ in found], [summary.value for _, summary in found]
    axes.plot(x, y, color=fill, linewidth=1.3, alpha=0.8, zorder=2)
    axes.scatter(x, y, s=42, color=fill, edgecolor=PAPER, linewidth=0.8, zorder=4)
    return float(x[-1]), y[-1]


def _limits(axes: Axes, axis: Axis, rows: Sequence[Row]) -> None:
    """From no speed at all, so that half looks like half; room at the right for names."""
    deepest = max(int(str(value)) for value in axis.values)
    axes.set_xlim(-0.03 * deepest, 1.14 * deepest)
    axes.set_ylim(0, 1.12 * max(interval(summary)[1] for row in rows for _, summary in _points(row)))
    axes.xaxis.set_major_locator(FixedLocator([int(str(value)) for value in axis.values]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _lost(row: Row) -> str:
    """What the deepest costs: `-31 % at 4096`."""
    deepest = max(row.points, key=lambda value: int(str(value)))
    change = row.change(deepest)
    return f"{share(change.ratio - 1)} at {deepest}" if change else ""


def _foot(axis: Axis, rows: Sequence[Row]) -> str:
    launches = min(len(point.values) for row in rows for point in row.points.values())
    bars = "95 % interval over launches" if launches >= 6 else "spread over launches (1.48 × MAD)"
    made = "Made up by a script: nothing was measured. " if axis.simulated else ""
    against = ", ".join(sorted({str(row.against) for row in rows}))
    return f"{made}Bars: {bars}. Everything but the depth is the same; the percentage is against depth {against}."
