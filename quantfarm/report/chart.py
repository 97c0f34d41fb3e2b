"""The frontier drawn with characters: speed to the right, quality upwards, every point with its name."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotext
from rich.text import Text

from quantfarm.report.canvas import NARROWEST, drawn
from quantfarm.report.figures import NAMES, number
from quantfarm.report.labels import Box, Label, place
from quantfarm.report.palette import colour
from quantfarm.statistics.frontier import Frontier, Standing

#: A character cell in the pixels that labels are placed in.
CELL = (8.0, 16.0)
Range = tuple[float, float]


def chart(frontier: Frontier, *, width: int = 80, height: int = 20, colours: bool = True) -> Text:
    """● on the frontier, ○ not. Empty when nothing can be compared or `width` is too narrow to read."""
    if not frontier.standings or width < NARROWEST:
        return Text("")
    return drawn(lambda figure: _draw(figure, frontier, width, height), width, height, colours=colours)


def _draw(figure: Any, frontier: Frontier, width: int, height: int) -> None:
    shown = frontier.standings
    points = [
        (s.candidate.figures[frontier.speed].value, -s.candidate.figures[frontier.quality].value) for s in shown
    ]  # quality is drawn upside down: up is better
    across, up = (_room([p[axis] for p in points], room) for axis, room in ((0, 0.1), (1, 0.12)))
    gutter = _ruler(figure, "y", up, max(2, height // 5), -1)
    _ruler(figure, "x", across, max(2, width // 14), 1)
    figure.label("decode speed (tok/s) →", "x")
    figure.label(f"{NAMES[frontier.quality]}, better upwards ↑", "y")
    cells = (width - gutter - 2, height - 4)  # inside the axes, the tick and the label row
    for (x, y), standing in zip(points, shown, strict=True):
        figure.draw(figure.signal([x], [y], marker=plotext.marker(*_mark(standing))))
    for text, x, y in _names(points, shown, across, up, cells):
        figure.draw(figure.text(x, y, text))


def _mark(standing: Standing) -> tuple[str, tuple[int, int, int]]:
    c = colour(standing.candidate.variant)
    return "●" if standing.on_frontier else "○", (int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16))


def _room(values: Sequence[float], room: float) -> Range:
    span = (max(values) - min(values)) or abs(max(values)) * 0.1 or 1.0
    return min(values) - room * span, max(values) + room * span


def _ruler(figure: Any, axis: str, limits: Range, most: int, sign: int) -> int:
    """Round ticks within limits, said as their absolute value where drawn upside down; the widest one's width."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - slow to import, and not every verb draws

    ticks = [float(t) for t in MaxNLocator(most).tick_values(*limits) if limits[0] <= t <= limits[1]]
    said = [
        number(sign * t, 4).rstrip("0").rstrip(".") if "." in number(sign * t, 4) else number(sign * t, 4)
        for t in ticks
    ]
    figure.ruler(axis).lim(*limits)
    figure.ruler(axis).ticks(ticks, said)
    return max(len(text) for text in said)


def _names(
    points: Sequence[Range], shown: Sequence[Standing], across: Range, up: Range, cells: tuple[int, int]
) -> list[tuple[str, float, float]]:
    """Each name and where its first letter goes, in data coordinates: clear of points and other names."""
    columns, rows = cells
    size = ((across[1] - across[0]) / max(columns - 1, 1), (up[1] - up[0]) / max(rows - 1, 1))
    labels = [
        Label(
            round((x - across[0]) / size[0]) * CELL[0],
            round((y - up[0]) / size[1]) * CELL[1],
            CELL[0] / 2,
            len(s.candidate.name) * CELL[0],
            CELL[1] * 0.9,
        )
        for (x, y), s in zip(points, shown, strict=True)
    ]
    boxes = place(labels, Box(-CELL[0] / 2, -CELL[1] / 2, (columns - 0.5) * CELL[0], (rows - 0.5) * CELL[1]))
    return [
        (
            s.candidate.name,
            across[0] + round(box.left / CELL[0] + 0.5) * size[0],
            up[0] + round((box.bottom + box.top) / 2 / CELL[1]) * size[1],
        )
        for s, box in zip(shown, boxes, strict=True)
    ]
