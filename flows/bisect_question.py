"""What to bisect: a series, its good and its bad version, from the last regression that a night found or as given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows import builds, devices
from quantfarm.bisection.record import Question
from quantfarm.builds import Build, parse
from quantfarm.decide.targets import MORE_IS_BETTER
from quantfarm.errors import FarmError, UsageError
from quantfarm.nightly.points import Point
from quantfarm.nightly.series import SeriesKey, choose
from quantfarm.nightly.verdicts import Kind, NightReport, Verdict
from quantfarm.nouns import Cell, DeviceProfile, Landed
from quantfarm.runtimes import runtime
from storage import nights
from storage.home import Home
from storage.landing import Landings
from storage.reading import NoResults, Reader

#: Below six pairs there is no 95 % interval.
LEAST_PAIRS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """As a person says it. `good`, `bad`: versions, or empty for those of the series' last regression."""

    series: str
    good: str = ""
    bad: str = ""
    pairs: int = 10
    fresh: bool = False  # measure again what a bisection before this one measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """`cell`: what is measured, as it was measured last; `profile`: the device as it is today."""

    question: Question
    cell: Cell
    profile: DeviceProfile
    landed: Landed

    def build(self, version: str) -> str:
        return f"{self.question.package} {version}"


def subject(home: Home, asked: Asked) -> Subject:
    """Raises UsageError for a series that is not known or cannot be bisected, saying what to do; CannotHave."""
    if asked.pairs < LEAST_PAIRS:
        raise UsageError(f"--pairs {asked.pairs}: it takes {LEAST_PAIRS} pairs for an interval of 95 %")
    points, reports = _points(home), nights.reports(home, {})
    key = choose(sorted({*points, *(one.series for report in reports for one in report.verdicts)}), asked.series)
    verdict = _regression(reports, key)
    landed = _landed(home, key, verdict, points.get(key, ()))
    good, bad = _ends(key, verdict, asked, landed.cell)
    profile = _profile(home, key, landed.cell)
    builds.wanted(profile, runtime(key.runtime), str(good))  # whether such builds can be had at all
    question = Question(
        series=key,
        package=good.package,
        good=good.version,
        bad=bad.version,
        cell=landed.cell.id,
        pairs=asked.pairs,
        falls=key.metric in MORE_IS_BETTER,
        claimed=verdict.ratio if verdict and not (asked.good or asked.bad) else None,
    )
    return Subject(question=question, cell=landed.cell, profile=profile, landed=landed)


def _points(home: Home) -> Mapping[SeriesKey, Sequence[Point]]:
    try:
        with Reader(home) as reader:
            return nights.series(reader)
    except NoResults as error:
        raise UsageError(f"{error}; `quantfarm nightly run` measures a night") from error


def _regression(reports: Sequence[NightReport], key: SeriesKey) -> Verdict | None:
    """The last one that a night told of the series."""
    found = [one for report in reports for one in report.verdicts if one.series == key and one.kind is Kind.REGRESSION]
    return found[-1] if found else None


def _landed(home: Home, key: SeriesKey, verdict: Verdict | None, points: Sequence[Point]) -> Landed:
    """What was measured of the series last: as it was bad, where it was found to be."""
    cells = [verdict.new.cell] if verdict and verdict.new and verdict.new.cell else []
    cells += [point.cell for point in reversed(points)]
    for cell in cells:
        if found := Landings(home).latest(cell):
            return found
    raise FarmError(f"nothing that was measured of {key.name} is there any more: measure a night first")


def _ends(key: SeriesKey, verdict: Verdict | None, asked: Asked, cell: Cell) -> tuple[Build, Build]:
    was, now = verdict.changed.get("build", ("", "")) if verdict else ("", "")
    if not (asked.good and asked.bad) and not was:
        raise UsageError(_no_builds(key, verdict, asked, cell))
    package = parse(was or cell.build)
    good, bad = (_build(given, known, package) for given, known in ((asked.good, was), (asked.bad, now)))
    if good.package != bad.package:
        raise UsageError(f"{key.name} went from {good} to {bad}: two packages, and no versions between them")
    return good, bad


def _build(given: str, known: str, package: Build | None) -> Build:
    """From `0.3.35`, or `llama-cpp-python 0.3.35`."""
    text = (given if " " in given or not package else f"{package.package} {given}") if given else known
    found = parse(text)
    if not found:
        raise UsageError(
            f"'{text}' is no build whose versions can be searched: one is such as {package or 'NAME 1.2.3'}"
        )
    return found


def _no_builds(key: SeriesKey, verdict: Verdict | None, asked: Asked, cell: Cell) -> str:
    """Why there are no versions to search, and what to do."""
    both = f"`quantfarm nightly bisect {key.id} --good VERSION --bad VERSION` searches between two of your choice"
    if asked.good or asked.bad:
        return f"no night says what the other version was: {both}"
    if verdict is None:
        return f"no night found a regression of {key.name}: {both}"
    what = verdict.suspect or "nothing that is recorded changed"
    return (
        f"{key.name} regressed on {verdict.first_bad} under one and the same build ({cell.build}): there are no "
        f"versions to search. What changed: {what}. `quantfarm nightly history {key.id}` shows its nights; look for "
        f"what is not recorded (heat, other programs, power settings), or: {both}"
    )


def _profile(home: Home, key: SeriesKey, cell: Cell) -> DeviceProfile:
    """The device as it is today. Raises UsageError for one that is not there any more, or not to be used."""
    found = devices.known(home).get(key.device)
    if found is None:
        raise UsageError(f"the device {key.device} is not registered any more: nothing can be measured on it")
    if why := devices.unfit(home, found):
        raise UsageError(f"{why}: `quantfarm device list`")
    if (found.chip, found.cores) != (cell.profile.chip, cell.profile.cores):
        raise UsageError(
            f"{key.device} is another machine now ({found.chip}, {found.cores} cores) than when it was measured "
            f"({cell.profile.chip}, {cell.profile.cores} cores)"
        )
    return found
