"""The nights of a series drawn with characters: ● a night, ▲ where its level changed, │ where it forked."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
from __future__ import annotations

from typing import Any

import plotext
from rich.text import Text

from quantfarm.nightly.history import History
from quantfarm.report.canvas import NARROWEST, drawn
from quantfarm.report.figures import number

#: Dates below the axis: one for so many characters.
APART = 16
ROWS = 4
USUAL, CHANGED, FORK = (42, 120, 214), (208, 59, 59), (120, 120, 120)


def chart(history: History, *, width: int = 80, height: int = 16, colours: bool = True) -> Text:
    """Empty where there is nothing to draw, or `width` is too narrow to read."""
    if not history.points or width < NARROWEST:
        return Text("")
    return drawn(lambda figure: _draw(figure, history, width, height), width, height, colours=colours)


def _draw(figure: Any, history: History, width: int, height: int) -> None:
    place = {night: at for at, night in enumerate(history.nights)}
    values = [point.value for point in history.points]
    low, high = min(values), max(values)
    room = 0.1 * (high - low) or 0.05 * abs(high) or 1.0
    figure.ruler("x").lim(-1, len(history.nights))
    figure.ruler("y").lim(low - room, high + room)
    _ticks(figure, history, width, (low, high))
    for night in history.forks:
        at = place[night] - 0.5
        figure.draw(figure.signal([at] * height, _column(low - room, high + room, height), marker=_mark("│", FORK)))
    changed = {history.points[change.index].night for change in history.changes}
    for mark, colour, these in (
        ("●", USUAL, [point for point in history.points if point.night not in changed]),
        ("▲", CHANGED, [point for point in history.points if point.night in changed]),
    ):
        if these:
            x, y = [place[point.night] for point in these], [point.value for point in these]
            figure.draw(figure.signal(x, y, marker=_mark(mark, colour)))


def _mark(text: str, colour: tuple[int, int, int]) -> Any:
    return plotext.marker(text, colour)


def _column(low: float, high: float, rows: int) -> list[float]:
    return [low + (high - low) * row / max(rows - 1, 1) for row in range(rows)]


def _ticks(figure: Any, history: History, width: int, limits: tuple[float, float]) -> None:
    nights = history.nights
    step = max(1, -(-len(nights) * APART // width))
    shown = range(0, len(nights), step)
    figure.ruler("x").ticks([float(at) for at in shown], [nights[at] for at in shown])
    rows = _column(*limits, ROWS) if limits[0] != limits[1] else [limits[0]]
    figure.ruler("y").ticks(rows, [number(value, 4) for value in rows])
