"""What a parameter changes: one table for each axis that was measured, every value against the usual one.

Only launches that differ in nothing else are compared. They were not taken in pairs (cells run in random order), so
a difference has the rank-sum test's interval, from four launches on each side on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantfarm import axes
from quantfarm.marks import MARKS, unusual
from quantfarm.nouns import Scalar, Workload, parameters
from quantfarm.report.figures import NAMES, NONE, decimals, share
from quantfarm.report.figures_table import escape, small
from quantfarm.statistics.summary import Summary, summarise
from quantfarm.statistics.unpaired import Ratio, ratio

#: The figures that are shown, in this order.
METRICS = ("bench_pp", "bench_tg", "decode_tps", "ttft", "sustained_steady", "speed_up", "resident_peak")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A metric of one series: its launches under one setting. `cores`: the device's, for what threads are usual."""

    device: str
    model: str
    variant: str
    runtime: str  # with its build
    kind: str
    metric: str
    unit: str
    settings: Mapping[str, Scalar]
    values: tuple[float, ...]
    cores: int = 0
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A metric of a variant along an axis. `against`: the value that the others are compared with, among `points`."""

    variant: str
    runtime: str
    kind: str
    metric: str
    unit: str
    against: Scalar
    points: Mapping[Scalar, Point]

    @property
    def workload(self) -> str:
        """The label of what the others are compared with."""
        return Workload(kind=self.kind, parameters=parameters(self.points[self.against].settings)).label

    def change(self, value: Scalar) -> Ratio | None:
        """That value ÷ the one compared with; None for that one itself and where a figure is not above zero."""
        base, other = self.points[self.against].values, self.points[value].values
        if value == self.against or min(*base, *other) <= 0:
            return None
        return ratio(base, other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One parameter on one device and model; `values` in order."""

    device: str
    model: str
    parameter: str
    values: tuple[Scalar, ...]
    rows: tuple[Row, ...]
    simulated: bool = False


def along(points: Sequence[Point]) -> tuple[Axis, ...]:
    """Every axis of which somebody has two values with all else equal; by device, model and parameter."""
    groups: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for point in points:
        if point.metric in METRICS and point.values:
            groups[point.device, point.model].append(point)
    return tuple(
        axis
        for (device, model), group in sorted(groups.items())
        for parameter in axes.PARAMETERS
        if (axis := _axis(device, model, parameter, group))
    )


def _axis(device: str, model: str, parameter: str, group: Sequence[Point]) -> Axis | None:
    series: dict[tuple[str, ...], list[Point]] = defaultdict(list)
    for point in group:
        if parameter in point.settings:
            series[point.variant, point.runtime, point.kind, point.metric].append(point)
    rows = [row for own in series.values() if (row := _row(parameter, own))]
    if not rows:
        return None
    rows.sort(key=lambda row: (row.variant, row.runtime, row.kind, METRICS.index(row.metric)))
    values = {value for row in rows for value in row.points}
    return Axis(
        device=device,
        model=model,
        parameter=parameter,
        values=tuple(sorted(values, key=lambda value: _order(parameter, value))),
        rows=tuple(rows),
        simulated=any(point.simulated for point in group),
    )


def _order(parameter: str, value: Scalar) -> Any:
    """Numbers by size; names as they are known (on before off, f16 before what is quantized)."""
    known = {"flash_attn": axes.ON_OFF, "type_k": tuple(axes.CACHE_TYPES), "type_v": tuple(axes.CACHE_TYPES)}
    return known[parameter].index(str(value)) if parameter in known and value in known[parameter] else value


def _row(parameter: str, own: Sequence[Point]) -> Row | None:
    """The values measured with all else equal; of several such sets the one whose context is the most usual."""
    sets: dict[Hashable, dict[Scalar, Point]] = defaultdict(dict)
    for point in own:
        rest = tuple(sorted((name, value) for name, value in point.settings.items() if name != parameter))
        sets[repr(rest)][point.settings[parameter]] = point
    several = {rest: found for rest, found in sets.items() if len(found) > 1}
    if not several:
        return None
    rest = min(several, key=lambda one: (_oddness(parameter, next(iter(several[one].values()))), str(one)))
    points = several[rest]
    first = next(iter(points.values()))
    return Row(
        variant=first.variant,
        runtime=first.runtime,
        kind=first.kind,
        metric=first.metric,
        unit=first.unit,
        against=_usual(parameter, points, first.cores),
        points=points,
    )


def _oddness(parameter: str, point: Point) -> int:
    rest = {name: value for name, value in point.settings.items() if name != parameter}
    return unusual(rest) + (rest.get("threads", point.cores) != point.cores)


def _usual(parameter: str, points: Mapping[Scalar, Point], cores: int) -> Scalar:
    """The default where it was measured, else the first value."""
    usual = {"n_depth": 0, "threads": cores, **{name: default for name, (default, _) in MARKS.items()}}[parameter]
    return next((value for value in points if value == usual), min(points, key=lambda v: _order(parameter, v)))


def table(axis: Axis) -> str:
    """Markdown: a row for each variant and metric, a column for each value."""
    headings = ["variant", "figure", *(escape(str(value)) for value in axis.values)]
    lines = [headings, ["---", "---", *["--:"] * len(axis.values)]]
    for row in axis.rows:
        figure = f"{NAMES.get(row.metric, row.metric)}{f' ({row.unit})' if row.unit else ''}"
        lines.append([f"**{escape(row.variant)}**", escape(figure), *(_cell(row, value) for value in axis.values)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _cell(row: Row, value: Scalar) -> str:
    point = row.points.get(value)
    if point is None:
        return NONE
    found, change = summarise(point.values), row.change(value)
    places = decimals(found.value)
    text = f"{found.value:.{places}f}" + _interval(found, places)
    if change is None:
        return text
    if change.low is None or change.high is None:
        return text + small(f"{share(change.ratio - 1)}, no interval")
    return text + small(f"{share(change.ratio - 1)} ({share(change.low - 1)} to {share(change.high - 1)})")


def _interval(found: Summary, places: int) -> str:
    if found.low is None or found.high is None:
        return ""
    return small(f"{found.low:.{places}f}–{found.high:.{places}f}")


def section(axis: Axis) -> str:
    """The table under its heading, with what it is compared with and of how many launches."""
    against = sorted({str(row.against) for row in axis.rows})
    launches = sorted({len(point.values) for row in axis.rows for point in row.points.values()})
    counts = "–".join(str(n) for n in dict.fromkeys((launches[0], launches[-1])))
    works = sorted({row.workload for row in axis.rows})
    made = " Simulated: made up by a script, nothing was measured." if axis.simulated else ""
    legend = (
        f"<sub>{', '.join(f'`{one}`' for one in works)}, against {axis.parameter} {', '.join(against)}, all else "
        f"equal. Launches: {counts}. A range is the 95 % interval of the median (six launches), a change has its own "
        f"(four against four).{made}</sub>"
    )
    return f"### Along {axis.parameter}\n\n{table(axis)}\n\n{legend}"
