"""What a night says of each series: nothing, too little, no data, or a candidate to measure again. Pure.

Nights are compared where all that is recorded of their circumstances is equal (METHOD §5): a series that forked and
came back goes on where it was. A fork itself is a candidate too where what changed is a build or a file that the
farm can measure beside the old one, and where the value moved with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from quantfarm.nightly import metrics
from quantfarm.nightly.candidates import Candidate, Rules, level
from quantfarm.nightly.points import Point
from quantfarm.nightly.series import SeriesKey
from quantfarm.nightly.verdicts import Kind, NightReport, Verdict
from quantfarm.report.figures import plural
from quantfarm.statistics.changes import ChangePoint, Settings, change_points

#: Windows of nights that are looked through: what lies further back was judged long ago.
WINDOWS = 3
#: The first night of a new level may move by so many nights as more of them come in.
NEAR = 3
#: A change that measuring again did not confirm is looked at again after so many more nights.
AGAIN = 3
#: Of a fork, a move of this share of what is told is worth measuring again.
WORTH = 0.5

JUDGED = frozenset({Kind.REGRESSION, Kind.IMPROVEMENT, Kind.NOISE})
Judged = Verdict | Candidate


def told(reports: Iterable[NightReport], before: str) -> dict[SeriesKey, list[Verdict]]:
    """What the reports before a night said of each series, oldest first."""
    found: dict[SeriesKey, list[Verdict]] = {}
    for report in sorted(reports, key=lambda one: one.night):
        if report.night < before:
            for verdict in report.verdicts:
                found.setdefault(verdict.series, []).append(verdict)
    return found


def judge(
    night: str, series: SeriesKey, points: Sequence[Point], earlier: Sequence[Verdict] = (), rules: Rules | None = None
) -> Judged:
    """Of a series that was measured this night (its last point). Raises ValueError for one that was not."""
    rules = rules or Rules()
    points = [point for point in points if point.night <= night]
    if not points or points[-1].night != night:
        raise ValueError(f"{series.name} has no value for {night}")
    now = points[-1].attributes
    alike = [point for point in points if point.attributes == now]
    start = points.index(alike[0])
    if start and len(alike) < rules.least and not _fork_judged(earlier, alike[0].night):
        return _fork(night, series, points[:start], alike, rules)
    if len(alike) < rules.least:
        reason = f"{len(alike)} of the {rules.least} nights that it takes to compare"
        return _quiet(night, series, alike, Kind.YOUNG, _with_open(reason, earlier))
    return _change(night, series, alike, earlier, rules)


def no_data(
    night: str,
    series: SeriesKey,
    reason: str,
    points: Sequence[Point] = (),
    earlier: Sequence[Verdict] = (),
    *,
    simulated: bool = False,
) -> Verdict:
    """Of a series that should have been measured; `first_bad` is the first night without data."""
    since = night
    for verdict in reversed(earlier):
        if verdict.kind is not Kind.NO_DATA:
            break
        since = verdict.night
    before = [point for point in points if point.night < since]
    return Verdict(
        series=series,
        kind=Kind.NO_DATA,
        reason=reason,
        night=night,
        old=level(before[-1:]) if before else None,
        first_bad=since,
        last_good=before[-1].night if before else "",
        simulated=simulated or any(point.simulated for point in points),
    )


def _fork(night: str, series: SeriesKey, before: Sequence[Point], alike: Sequence[Point], rules: Rules) -> Judged:
    was = before[-1].attributes
    same = [point for point in before if point.attributes == was]
    candidate = Candidate(
        series=series,
        night=night,
        before=tuple(_standing(same, rules)),
        after=tuple(alike),
        changed=_differences(was, alike[0].attributes),
    )
    moved = metrics.change(series.metric, candidate.old.value, candidate.new.value)
    if candidate.by_build and moved < WORTH * rules.alert:
        return Verdict(
            series=series,
            kind=Kind.UNCHANGED,
            reason=f"{candidate.suspect}: its value stayed within {WORTH * rules.alert:.1%}".replace("%", " %"),
            night=night,
            old=candidate.old,
            new=candidate.new,
            ratio=candidate.ratio,
            first_bad=candidate.first_bad,
            last_good=candidate.last_good,
            changed=candidate.changed,
            suspect=candidate.suspect,
            simulated=candidate.simulated,
        )
    return candidate


def _fork_judged(earlier: Sequence[Verdict], first: str) -> bool:
    return any(one.changed and one.first_bad == first and one.kind is not Kind.NO_DATA for one in earlier)


def _differences(was: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    names = [*was, *(name for name in now if name not in was)]
    return {name: (was.get(name, ""), now.get(name, "")) for name in names if was.get(name) != now.get(name)}


def _change(night: str, series: SeriesKey, alike: Sequence[Point], earlier: Sequence[Verdict], rules: Rules) -> Judged:
    recent = alike[-WINDOWS * rules.window :]
    found = _changes(recent, rules)
    if not found:
        return _quiet(night, series, recent[-rules.window :], Kind.UNCHANGED, _with_open(_steady(recent), earlier))
    index, before = found[-1].index, found[-2].index if len(found) > 1 else 0
    candidate = Candidate(
        series=series,
        night=night,
        before=tuple(recent[before:index]),
        after=tuple(recent[index:]),
        p=found[-1].p,
    )
    known = _known(candidate, [point.night for point in alike], earlier)
    if known is None and metrics.change(series.metric, candidate.old.value, candidate.new.value) == 0:
        return _quiet(night, series, recent[index:], Kind.UNCHANGED, _with_open(_steady(recent), earlier))
    if known is None and len(candidate.after) <= rules.window:
        return candidate
    reason = _steady(candidate.after) if known is None else _said(known)
    return _quiet(night, series, candidate.after, Kind.UNCHANGED, _with_open(reason, earlier))


def _changes(points: Sequence[Point], rules: Rules) -> list[ChangePoint]:
    settings = Settings(window=rules.window, p=rules.p, magnitude=rules.magnitude, min_points=rules.min_points)
    return change_points([point.value for point in points], settings)


def _standing(points: Sequence[Point], rules: Rules) -> Sequence[Point]:
    """The nights of the level that a series stood at last."""
    recent = points[-WINDOWS * rules.window :]
    found = _changes(recent, rules)
    return recent[found[-1].index if found else 0 :][-rules.window :]


def _known(candidate: Candidate, nights: Sequence[str], earlier: Sequence[Verdict]) -> Verdict | None:
    """The verdict that this change has already, unless it was none and it is time to look again."""
    place = bisect_left(nights, candidate.first_bad)
    up = candidate.new.value > candidate.old.value
    for verdict in reversed(earlier):
        if verdict.kind not in JUDGED or verdict.changed or not (verdict.old and verdict.new and verdict.first_bad):
            continue
        near = abs(bisect_left(nights, verdict.first_bad) - place) <= NEAR
        if near and (verdict.new.value > verdict.old.value) == up:
            since = sum(night > verdict.night for night in nights)
            return None if verdict.kind is Kind.NOISE and since >= AGAIN else verdict
    return None


def _said(known: Verdict) -> str:
    if known.kind is Kind.NOISE:
        return f"a change of {known.first_bad} that measuring again on {known.night} did not confirm"
    return f"{known.kind} of {known.first_bad}, told then"


def _steady(points: Sequence[Point]) -> str:
    return f"no change over {plural(len(points), 'night')}"


def open_regression(earlier: Sequence[Verdict]) -> Verdict | None:
    """The last regression that was told and is not back yet."""
    found: Verdict | None = None
    for verdict in earlier:
        if verdict.kind is Kind.REGRESSION:
            found = verdict
        elif found and is_back(found, verdict):
            found = None
    return found


def is_back(regression: Verdict, verdict: Verdict) -> bool:
    """Whether a later verdict of the series says that it stands nearer to where it was than to where it went."""
    old, new, now = regression.old, regression.new, verdict.new
    if verdict.kind is Kind.IMPROVEMENT:
        return True
    if verdict.kind is not Kind.UNCHANGED or not (old and new and now):
        return False
    return abs(now.value - old.value) < abs(now.value - new.value)


def _with_open(reason: str, earlier: Sequence[Verdict]) -> str:
    known = open_regression(earlier)
    if known is None or known.first_bad in reason:
        return reason
    return f"{_said(known)}; since then {reason}"


def _quiet(night: str, series: SeriesKey, points: Sequence[Point], kind: Kind, reason: str) -> Verdict:
    return Verdict(
        series=series,
        kind=kind,
        reason=reason,
        night=night,
        new=level(points),
        simulated=any(point.simulated for point in points),
    )
