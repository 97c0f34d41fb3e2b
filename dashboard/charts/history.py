"""A series night by night: values, levels, changes, what forked it, and the nights that are missing. Pure."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import plotly.graph_objects as go

from dashboard import theme
from dashboard.charts.hover import wrapped
from quantfarm.nightly import candidates, words
from quantfarm.nightly.history import History
from quantfarm.nightly.points import Point
from quantfarm.nightly.verdicts import Kind, Verdict
from quantfarm.report import names
from quantfarm.report.figures import number, plural, share
from storage.histories import Launches

#: Kind of what was confirmed -> its colour. A mark's shape says up or down, its name the rest.
CONFIRMED = {Kind.REGRESSION: theme.BAD, Kind.IMPROVEMENT: theme.GOOD}
#: More than this many usual distances between two nights is a gap.
GAP = 1.5
#: Forks told in words, the last ones; others are lines alone.
TOLD, LONGEST = 4, 56


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A change at a night: `said` is what it is called, `filled` where measuring again confirmed it."""

    night: str
    ratio: float | None
    said: str
    colour: str
    filled: bool
    more: str


def figure(history: History, launches: Mapping[str, Launches], acknowledged: Collection[str] = ()) -> go.Figure:
    """`acknowledged`: first nights of changes that somebody has said are known."""
    drawn = go.Figure(layout={"height": 440, "hovermode": "closest"})
    if not history.points:
        return drawn
    _gaps(drawn, history)
    _levels(drawn, history)
    _values(drawn, history, launches)
    for mark in marks(history, acknowledged):
        _mark(drawn, mark, history)
    _forks(drawn, history)
    drawn.update_yaxes(title_text=names.axis(history.series.metric, history.unit), range=_room(history, launches))
    drawn.update_xaxes(title_text="night (date)", type="date", range=_dates(history))
    return drawn


def _dates(history: History) -> list[str]:
    """From the first night of the farm to the last, however many have a value."""
    first, last = _day(history.nights[0]), _day(history.nights[-1])
    around = timedelta(days=max(1.0, 0.03 * (last - first).days))
    return [(first - around).isoformat(), (last + around).isoformat()]


def _day(night: str) -> date:
    return date.fromisoformat(night)


def _room(history: History, launches: Mapping[str, Launches]) -> list[float]:
    """Above, for the words of forks."""
    ends = [end for one in launches.values() for end in (one.low, one.high)]
    values = [*(point.value for point in history.points), *ends]
    span = (max(values) - min(values)) or 0.1 * abs(max(values)) or 1.0
    rows = min(len(history.forks), TOLD)
    return [min(values) - 0.08 * span, max(values) + (0.12 + 0.13 * rows) * span]


def parts(history: History) -> list[list[Point]]:
    """The points in runs that a line may join: none goes across a gap, or over a fork."""
    found: list[list[Point]] = []
    days = [_day(point.night) for point in history.points]
    steps = [(b - a).days for a, b in itertools.pairwise(days)]
    usual = statistics.median_low(steps) if steps else 1
    missing = set(history.gaps)
    for at, point in enumerate(history.points):
        apart = at == 0 or steps[at - 1] > GAP * usual or _between(missing, history.points[at - 1].night, point.night)
        if apart or point.night in history.forks:
            found.append([])
        found[-1].append(point)
    return found


def _between(missing: Collection[str], a: str, b: str) -> bool:
    return any(a < night < b for night in missing)


def _values(drawn: go.Figure, history: History, launches: Mapping[str, Launches]) -> None:
    fill = theme.colour(history.series.variant)
    for number_, part in enumerate(parts(history)):
        ranges = [launches.get(point.night) for point in part]
        drawn.add_scatter(
            x=[point.night for point in part],
            y=[point.value for point in part],
            mode="lines+markers",
            name="median of a night's launches",
            legendgroup="values",
            showlegend=number_ == 0,
            line={"color": fill, "width": 1},
            marker={"color": fill, "size": 7},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [one.high - point.value if one else 0 for one, point in zip(ranges, part, strict=True)],
                "arrayminus": [point.value - one.low if one else 0 for one, point in zip(ranges, part, strict=True)],
                "thickness": 1,
                "width": 0,
                "color": fill,
            },
            customdata=[[one.cell, one.attempt] if one else None for one in ranges],
            text=[_hover(point, one, history.unit) for one, point in zip(ranges, part, strict=True)],
            hovertemplate="%{text}<extra></extra>",
        )


def _hover(point: Point, launches: Launches | None, unit: str) -> str:
    several = launches is not None and launches.n > 1
    between = f" ({number(launches.low)}–{number(launches.high)})" if launches and several else ""
    said = f"<b>{point.night}</b><br>{number(point.value, 4)} {unit}{between}, {plural(point.n, 'launch', 'launches')}"
    return f"{said}<br>{wrapped(point.build)}" if point.build else said


def _levels(drawn: go.Figure, history: History) -> None:
    """The median between two changes or forks."""
    starts = {change.index for change in history.changes}
    starts |= {at for at, point in enumerate(history.points) if at == 0 or point.night in history.forks}
    edges = [*sorted(starts), len(history.points)]
    for number_, (start, end) in enumerate(itertools.pairwise(edges)):
        level = history.points[start:end]
        middle = statistics.median(point.value for point in level)
        drawn.add_scatter(
            x=[level[0].night, level[-1].night],
            y=[middle, middle],
            mode="lines",
            name="median of a level",
            legendgroup="levels",
            showlegend=number_ == 0,
            line={"color": theme.look().muted, "width": 3},
            opacity=0.55,
            hovertemplate=f"level: {number(middle, 4)} {history.unit}, {plural(len(level), 'night')}<extra></extra>",
        )


def marks(history: History, acknowledged: Collection[str] = ()) -> list[Mark]:
    """What the nights alone suggest, and what measuring again confirmed; each change once."""
    confirmed = {one.first_bad: one for one in history.verdicts if one.kind in CONFIRMED and one.first_bad}
    there = {point.night for point in history.points}
    found = [
        Mark(
            night=night,
            ratio=None if change.relative_size is None else 1 + change.relative_size,
            said="change, not confirmed",
            colour=theme.look().muted,
            filled=False,
            more=f"p = {change.p:.2g} by the nights alone",
        )
        for change in history.changes
        if (night := history.points[change.index].night) not in confirmed
    ]
    return found + [_confirmed(one, one.first_bad in acknowledged) for n, one in confirmed.items() if n in there]


def _confirmed(verdict: Verdict, known: bool) -> Mark:
    more = [words.confirmed(verdict.confirmation), words.suspect(verdict)]
    return Mark(
        night=verdict.first_bad,
        ratio=verdict.ratio,
        said=f"{verdict.kind}, acknowledged" if known else f"confirmed {verdict.kind}",
        colour=theme.UNSURE if known else CONFIRMED[verdict.kind],
        filled=True,
        more="; ".join(more),
    )


def _mark(drawn: go.Figure, mark: Mark, history: History) -> None:
    value = next(point.value for point in history.points if point.night == mark.night)
    up = mark.ratio is not None and mark.ratio > 1
    size = share(mark.ratio - 1) if mark.ratio is not None else ""
    drawn.add_scatter(
        x=[mark.night],
        y=[value],
        mode="markers+text",
        name=mark.said,
        legendgroup=mark.said,
        showlegend=mark.said not in {trace.name for trace in drawn.data},
        marker={
            "symbol": ("triangle-up" if up else "triangle-down") + ("" if mark.filled else "-open"),
            "size": 15,
            "color": mark.colour,
            "line": {"width": 2, "color": mark.colour},
        },
        text=[size],
        textposition="top center" if up else "bottom center",
        textfont={"color": theme.look().ink},
        hovertext=f"<b>{mark.night}</b>: {mark.said} {size}<br>{wrapped(mark.more)}",
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _gaps(drawn: go.Figure, history: History) -> None:
    """Nights of the farm without a value of this series, as one band for each run of them."""
    for number_, run in enumerate(runs(history.gaps, history.nights)):
        half = timedelta(hours=12)
        left, right = (_at(run[0]) - half, _at(run[-1]) + half)
        drawn.add_shape(
            type="rect", xref="x", yref="paper", x0=left.isoformat(), x1=right.isoformat(), y0=0, y1=1,
            fillcolor=theme.look().rule, opacity=0.45, line_width=0, layer="below",
            name="night without data", showlegend=number_ == 0, legendgroup="gaps",
        )  # fmt: skip


def _at(night: str) -> datetime:
    return datetime.fromisoformat(f"{night}T00:00:00")


def runs(gaps: Sequence[str], nights: Sequence[str]) -> list[list[str]]:
    """Missing nights that follow one another."""
    place = {night: at for at, night in enumerate(nights)}
    found: list[list[str]] = []
    for night in gaps:
        if found and place[night] == place[found[-1][-1]] + 1:
            found[-1].append(night)
        else:
            found.append([night])
    return found


def _forks(drawn: go.Figure, history: History) -> None:
    """A dashed line before the first night under other circumstances, with what changed; the last ones in words."""
    first, last = _at(history.nights[0]), _at(history.nights[-1])
    told = sorted(history.forks)[-TOLD:]
    for night in sorted(history.forks):
        at = _at(night) - timedelta(hours=12)
        drawn.add_vline(x=at.isoformat(), line={"color": theme.look().muted, "width": 1, "dash": "dash"})
        if night not in told:
            continue
        right = (at - first) / max(last - first, timedelta(days=1)) > 0.5
        drawn.add_annotation(
            x=at.isoformat(),
            y=0.995 - 0.1 * told.index(night),
            yref="paper",
            yanchor="top",
            xanchor="right" if right else "left",
            align="right" if right else "left",
            text=wrapped(candidates.suspect(history.forks[night]), LONGEST // 2, LONGEST),
            hovertext=wrapped(candidates.suspect(history.forks[night])),
            showarrow=False,
            font={"size": 11, "color": theme.look().muted},
            bgcolor=theme.look().paper,
            opacity=0.9,
        )
