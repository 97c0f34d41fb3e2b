"""A series with all that is known of its nights: values, gaps, forks, change points, verdicts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantfarm.nightly.candidates import Rules, suspect
from quantfarm.nightly.points import Point
from quantfarm.nightly.series import SeriesKey
from quantfarm.nightly.verdicts import Kind, Verdict
from quantfarm.statistics.changes import ChangePoint, Settings
from quantfarm.statistics.series import Night, changes_in, segments

#: Verdicts that are no news.
QUIET = frozenset({Kind.UNCHANGED, Kind.YOUNG})


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """`nights`: every night of the farm since this series began; those without a point are gaps.

    `forks`: the first night under other circumstances -> what changed, name -> (was, is). `changes`: their indices
    are of `points`. `verdicts`: the news alone.
    """

    series: SeriesKey
    nights: tuple[str, ...]
    points: tuple[Point, ...]
    forks: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict[str, Mapping[str, tuple[str, str]]])
    changes: tuple[ChangePoint, ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    @property
    def unit(self) -> str:
        return self.points[-1].unit if self.points else ""

    @property
    def simulated(self) -> bool:
        return any(point.simulated for point in self.points)

    @property
    def gaps(self) -> tuple[str, ...]:
        there = {point.night for point in self.points}
        return tuple(night for night in self.nights if night not in there)


def compose(
    series: SeriesKey,
    points: Sequence[Point],
    nights: Iterable[str],
    verdicts: Iterable[Verdict] = (),
    rules: Rules | None = None,
) -> History:
    """`nights`: all that anything was measured in."""
    rules = rules or Rules()
    told = [one for one in verdicts if one.kind not in QUIET]
    first = min([point.night for point in points] + [one.night for one in told], default="")
    every = {*(night for night in nights if first and night >= first), *(point.night for point in points)}
    parts = segments([night(one) for one in points])
    settings = Settings(window=rules.window, p=rules.p, magnitude=rules.magnitude, min_points=rules.min_points)
    return History(
        series=series,
        nights=tuple(sorted(every)),
        points=tuple(points),
        forks={part.nights[0].run: part.forked for part in parts if part.forked},
        changes=tuple(one for part in parts for one in changes_in(part, settings)),
        verdicts=tuple(told),
    )


def night(point: Point) -> Night:
    return Night(run=point.night, value=point.value, attributes=point.attributes)


def rows(history: History) -> list[dict[str, Any]]:
    """One row per night, for tables and programs; a gap has no value."""
    points = {point.night: point for point in history.points}
    changes = {history.points[change.index].night: change for change in history.changes}
    verdicts = {verdict.night: verdict for verdict in history.verdicts}
    return [
        _row(history, night, points.get(night), changes.get(night), verdicts.get(night)) for night in history.nights
    ]


def _row(
    history: History, night: str, point: Point | None, change: ChangePoint | None, verdict: Verdict | None
) -> dict[str, Any]:
    fork = history.forks.get(night)
    return {
        "night": night,
        "value": point.value if point else None,
        "unit": history.unit,
        "n": point.n if point else 0,
        "build": point.build if point else "",
        "fork": suspect(fork) if fork else "",
        "change": change.direction if change else "",
        "relative_size": change.relative_size if change else None,
        "p": change.p if change else None,
        "verdict": str(verdict.kind) if verdict else "",
        "reason": verdict.reason if verdict else "",
        "simulated": history.simulated,
    }
