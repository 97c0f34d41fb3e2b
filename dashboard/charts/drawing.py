"""What several plots need: names of the world as plotly shows them literally, and bars around points."""

from __future__ import annotations

import functools
import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from quantfarm.report.labels import Box, Label, place

Range = tuple[float, float]
#: A longer name is cut in a plot; the table below it has all of it.
LONGEST = 28
#: More points than this are named by the pointer alone, but for those that matter most.
NAMED, NAMED_NARROW = 20, 9
#: About what a plot measures in pixels where labels are placed beside points: what is wider only gives more room.
WIDTH, NARROW, HEIGHT = 560, 270, 400
LETTER, LINE = 7.4, 16.0


def plain(text: str, most: int = LONGEST) -> str:
    """A name without plotly's markup or formulas, cut where it is long."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return html.escape(" ".join(cut.split()), quote=False).replace("$", "&#36;")


def bars(values: Sequence[float], spans: Sequence[Range], colour: str) -> dict[str, Any]:
    """Error bars from each span's ends."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, high - value) for value, (_, high) in zip(values, spans, strict=True)],
        "arrayminus": [max(0.0, value - low) for value, (low, _) in zip(values, spans, strict=True)],
        "color": colour,
        "thickness": 1.4,
        "width": 0,
    }


def padded(spans: Sequence[Range], room: float = 0.1) -> Range:
    """From the least to the most with room around; never empty."""
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    span = (high - low) or abs(high) * 0.1 or 1.0
    return low - room * span, high + room * span


def beside(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    radii: Sequence[float],
    x: Range,
    y: Range,
    lines: Sequence[tuple[float, float]] = (),
    width: int = WIDTH,
) -> list[tuple[float, float]]:
    """For each point how far its label's middle is from it, in pixels to the right and up, clear of the others and
    of points along lines. Kept: it takes longer than all the rest of a plot."""
    return _beside(tuple(points), tuple(texts), tuple(radii), x, y, tuple(lines), width)


@functools.lru_cache(maxsize=256)
def _beside(
    points: tuple[tuple[float, float], ...],
    texts: tuple[str, ...],
    radii: tuple[float, ...],
    x: Range,
    y: Range,
    lines: tuple[tuple[float, float], ...],
    width: int,
) -> list[tuple[float, float]]:

    def pixels(px: float, py: float) -> tuple[float, float]:
        return (px - x[0]) / (x[1] - x[0]) * width, (py - y[0]) / (y[1] - y[0]) * HEIGHT

    at = [pixels(*point) for point in points]
    labels = [
        Label(px, py, radius, LETTER * len(text), LINE) for (px, py), text, radius in zip(at, texts, radii, strict=True)
    ]
    boxes = place(labels, Box(0, 0, width, HEIGHT), [pixels(*point) for point in lines])
    return [
        ((box.left + box.right) / 2 - px, (box.bottom + box.top) / 2 - py)
        for box, (px, py) in zip(boxes, at, strict=True)
    ]


def annotate(drawn: go.Figure, notes: Sequence[dict[str, Any]]) -> None:
    """All at once: one by one each would copy those before it."""
    drawn.update_layout(annotations=[*drawn.layout["annotations"], *notes])


def legend(drawn: go.Figure, names: Sequence[str], symbols: Sequence[str], colour: str) -> None:
    """Of what markers mean: in one colour, as the colours mean something else."""
    drawn.add_traces(
        [
            go.Scatter(
                x=[None], y=[None], mode="markers", marker={"symbol": symbol, "size": 10, "color": colour}, name=name
            )
            for name, symbol in zip(names, symbols, strict=True)
        ]
    )
