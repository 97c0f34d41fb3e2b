"""The look of all plots: figures without global state, SVG that is the same for the same data."""

# pyright: reportUnknownMemberType=false
# (matplotlib's own annotations leave **kwargs untyped)
from __future__ import annotations

import io
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

from quantfarm.report.labels import Box, Label, place
from quantfarm.report.palette import INK, MUTED, PAPER, RULE

#: Text stays text (readable, searchable, small); widths are measured with DejaVu Sans, wider than what follows it.
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "quantfarm",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Segoe UI", "Helvetica", "Arial", "sans-serif"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.unicode_minus": True,
}


@contextmanager
def figure(width: float = 8.2, height: float = 5.2) -> Generator[tuple[Figure, Axes]]:
    """A figure with one calm pair of axes; sizes in inches."""
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=(width, height), facecolor=PAPER, dpi=100)
        FigureCanvasAgg(drawn)  # measures texts
        axes = drawn.add_axes((0.085, 0.19, 0.885, 0.655), facecolor=PAPER)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=RULE, linewidth=0.5, alpha=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, pad=6)
        yield drawn, axes


def title(drawn: Figure, text: str, under: str, foot: str) -> None:
    """Title, a line under it, and a note at the foot, all flush left."""
    inch = 1 / drawn.get_figheight()  # the same room however tall the figure is
    drawn.text(0.02, 1 - 0.286 * inch, text, fontsize=12.5, fontweight="bold", va="center")
    drawn.text(0.02, 1 - 0.556 * inch, under, fontsize=9, color=MUTED, va="center")
    drawn.text(0.02, 0.104 * inch, foot, fontsize=7.5, color=MUTED, va="bottom", linespacing=1.45)


def svg(drawn: Figure) -> str:
    """The figure as SVG without a date; equal figures give equal text."""
    out = io.BytesIO()
    with mpl.rc_context(STYLE):
        FigureCanvasSVG(drawn).print_svg(out, metadata={"Date": None, "Creator": "quantfarm"})
    lines = out.getvalue().decode("utf-8").splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def annotate(
    drawn: Figure,
    axes: Axes,
    at: Sequence[tuple[float, float]],
    radii: Sequence[float],
    texts: Sequence[tuple[str, str]],
    lines: Sequence[tuple[float, float]] = (),
) -> None:
    """Two-line labels (name, detail) beside points, without overlaps; a thin leader where one had to move away.

    `at` and `lines` in data coordinates, `radii` in pixels.
    """
    renderer = FigureCanvasAgg(drawn).get_renderer()
    written = [_write(axes, name, detail) for name, detail in texts]
    sizes = [[t.get_window_extent(renderer) for t in pair] for pair in written]
    pixels: list[tuple[float, float]] = axes.transData.transform(list(at)).tolist() if at else []
    wanted = [
        Label(x, y, radius, max(b.width for b in boxes), sum(b.height for b in boxes) + 1)
        for (x, y), radius, boxes in zip(pixels, radii, sizes, strict=True)
    ]
    inner = axes.get_window_extent(renderer)
    avoid = [(float(x), float(y)) for x, y in axes.transData.transform(list(lines))] if lines else []
    boxes = place(wanted, Box(inner.x0 + 2, inner.y0 + 2, inner.x1, inner.y1 + 14), avoid)
    for pair, size, box, label in zip(written, sizes, boxes, wanted, strict=True):
        heights = (box.top - size[0].height / 2, box.bottom + size[1].height / 2)
        for text, height in zip(pair, heights, strict=True):
            x, y = axes.transData.inverted().transform(((box.left + box.right) / 2, height)).tolist()
            text.set_position((x, y))
        _leader(axes, box, label)


def _write(axes: Axes, name: str, detail: str) -> tuple[Text, Text]:
    upper = axes.text(0, 0, name, ha="center", va="center", fontsize=9, fontweight="bold", zorder=6)
    lower = axes.text(0, 0, detail, ha="center", va="center", fontsize=7.5, color=MUTED, zorder=6)
    return upper, lower


def _leader(axes: Axes, box: Box, label: Label) -> None:
    """From the edge of the point to the nearest place of the box, where they are apart."""
    x, y = min(max(label.x, box.left), box.right), min(max(label.y, box.bottom), box.top)
    dx, dy = x - label.x, y - label.y
    length = (dx * dx + dy * dy) ** 0.5
    if length > label.radius + 12:
        start = (label.x + dx / length * label.radius, label.y + dy / length * label.radius)
        (x0, y0), (x1, y1) = axes.transData.inverted().transform([start, (x, y)])
        axes.plot([x0, x1], [y0, y1], color=MUTED, linewidth=0.6, zorder=2)
