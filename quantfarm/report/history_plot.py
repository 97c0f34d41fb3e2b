"""A series night by night: its values, the levels between its changes, what forked it, and what is missing."""

# pyright: reportUnknownMemberType=false
# (matplotlib's own annotations leave **kwargs untyped)
from __future__ import annotations

import itertools
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator

from quantfarm.nightly.series import SeriesKey
from quantfarm.nightly.verdicts import Verdict
from quantfarm.report import drawing, history_marks
from quantfarm.report.figures import NAMES, plural
from quantfarm.report.palette import MUTED, PAPER, RULE, colour
from quantfarm.report.scene import Range
from quantfarm.statistics.changes import ChangePoint
from quantfarm.statistics.series import Night, segments

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: Days between two ticks, and how many ticks there may be.
STEPS, TICKS = (1, 2, 7, 14, 28, 91, 182, 364), 9
#: More than this many usual distances between two nights is a gap.
GAP = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """`nights` in order; `run` is an ISO date, else nights are counted. `changes` and their indices are of `nights`.

    `spreads`: run -> the lowest and the highest launch of that night. `labels`: attributes that fork no series.
    """

    key: SeriesKey
    unit: str
    nights: Sequence[Night]
    changes: Sequence[ChangePoint] = ()
    verdicts: Sequence[Verdict] = ()
    spreads: Mapping[str, Range] = field(default_factory=dict[str, Range])
    labels: Collection[str] = ()
    simulated: bool = False


def history_svg(history: History) -> str:
    """The series as SVG, the same for the same nights. Raises ValueError where there are no nights."""
    if not history.nights:
        raise ValueError("nothing to draw: no night has a value")
    x = places(history.nights)
    with drawing.figure(9.2, 5.0) as (drawn, axes):
        _limits(axes, x, history)
        _ticks(axes, x, history.nights)
        holes = gaps(x)
        for left, right in holes:
            axes.axvspan(left + 0.5, right - 0.5, color=RULE, alpha=0.35, linewidth=0, zorder=0)
        levels(axes, x, history)
        _values(axes, x, history)
        forks = history_marks.forks(axes, x, history.nights, history.labels)
        history_marks.changes(axes, x, history)
        metric = NAMES.get(history.key.metric, history.key.metric)
        axes.set_ylabel(f"{metric} ({history.unit})" if history.unit else metric, labelpad=6)
        drawing.title(drawn, heading(history), _under(history), _foot(history, bool(holes), bool(forks)))
        return drawing.svg(drawn)


def places(nights: Sequence[Night]) -> list[int]:
    """Days, so that a night that is missing leaves a hole; where a run is no date, one after another."""
    try:
        days = [date.fromisoformat(night.run).toordinal() for night in nights]
    except ValueError:
        return list(range(len(nights)))
    return days if all(a < b for a, b in itertools.pairwise(days)) else list(range(len(nights)))


def gaps(x: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbours that are further apart than is usual here."""
    steps = [b - a for a, b in itertools.pairwise(x)]
    usual = statistics.median_low(steps) if steps else 1
    return [(a, b) for a, b in itertools.pairwise(x) if b - a > GAP * usual]


def levels(axes: Axes, x: Sequence[int], history: History) -> None:
    """The median between two changes or forks, as a line over its nights."""
    for start, end in spans(history):
        value = statistics.median(night.value for night in history.nights[start:end])
        left, right = x[start] - 0.4, x[end - 1] + 0.4
        axes.hlines(value, left, right, color=MUTED, linewidth=1.6, alpha=0.75, zorder=2)


def spans(history: History) -> list[tuple[int, int]]:
    """Where the levels begin and end: indices into the nights."""
    begins = {part.start for part in segments(history.nights, history.labels)}
    edges = sorted(begins | {one.index for one in history.changes} | {len(history.nights)})
    return list(itertools.pairwise(edges))


def heading(history: History) -> str:
    key = history.key
    mark = " (simulated)" if history.simulated else ""
    return f"{NAMES.get(key.metric, key.metric).capitalize()} by night: {key.model} {key.variant} on {key.device}{mark}"


def _under(history: History) -> str:
    first, last = history.nights[0].run, history.nights[-1].run
    key = history.key
    when = f"{plural(len(history.nights), 'night')}, {first} to {last}"
    return f"{key.runtime} · {key.workload} · {when} · series {key.id}"


def _foot(history: History, holes: bool, forks: bool) -> str:
    said = ["Points: median of a night's launches" + (", bars: lowest to highest" if history.spreads else "")]
    said.append("grey lines: median of a level")
    said += ["shaded: nights without data"] if holes else []
    more = ["dashed: what changed around the measurement; the levels on both sides are not compared"] if forks else []
    if history.changes or history.verdicts:
        more.append("triangles: changes, filled where confirmed")
    return " · ".join(said) + "\n" + " · ".join(more).capitalize()


def _values(axes: Axes, x: Sequence[int], history: History) -> None:
    fill = colour(history.key.variant)
    for place, night in zip(x, history.nights, strict=True):
        if spread := history.spreads.get(night.run):
            axes.vlines(place, *spread, color=fill, linewidth=1.1, alpha=0.6, zorder=3)
    values = [night.value for night in history.nights]
    axes.scatter(x, values, s=22 if len(x) < 120 else 10, color=fill, edgecolor=PAPER, linewidth=0.6, zorder=4)


def _limits(axes: Axes, x: Sequence[int], history: History) -> None:
    """Room above for the words of forks."""
    ends = [end for spread in history.spreads.values() for end in spread]
    values = [*(night.value for night in history.nights), *ends]
    span = (max(values) - min(values)) or abs(max(values)) * 0.1 or 1.0
    axes.set_ylim(min(values) - 0.16 * span, max(values) + 0.30 * span)
    room = max(1.0, 0.03 * (x[-1] - x[0]))
    axes.set_xlim(x[0] - room, x[-1] + room)


def _ticks(axes: Axes, x: Sequence[int], nights: Sequence[Night]) -> None:
    step = next((one for one in STEPS if (x[-1] - x[0]) / one < TICKS), STEPS[-1])
    if list(x) == list(range(len(x))):  # not dates: the runs' own names
        at = list(range(0, len(x), max(step, 1)))
        names = [nights[i].run[:12] for i in at]
    else:
        at = list(range(x[0], x[-1] + 1, step))
        days = [date.fromordinal(one) for one in at]
        names = [f"{day.day} {MONTHS[day.month - 1]}" for day in days]
    axes.xaxis.set_major_locator(FixedLocator(at))
    axes.xaxis.set_major_formatter(FixedFormatter(names))
    axes.grid(axis="x", visible=False)
