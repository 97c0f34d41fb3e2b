"""Nights: their reports, which are files, and the series that the published database holds.

nights/2026-11-20.json         the report of a night: immutable once it is there
nights/reproduce/<series>.yaml a sweep that measures what is watched once more
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantfarm.errors import FarmError
from quantfarm.nightly import verdicts
from quantfarm.nightly.points import Point, attributes
from quantfarm.nightly.series import SeriesKey
from quantfarm.nightly.verdicts import NightReport
from storage import atomic
from storage.home import Home

if TYPE_CHECKING:
    from storage.reading import Reader  # which ingests, which loads what is here

#: Nights that are read back at most: what lies further back says nothing about tonight.
NIGHTS = 400
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

CELLS = """
SELECT cell, attempt, device, model, variant, runtime, workload, night, launch, simulated,
       chip, build, recipe, artifact, parameters, conditions
FROM cells WHERE state = 'ok' AND night <> '' AND night >= $since AND NOT starts_with(sweep, 'rerun-'){only}
ORDER BY night, started_at, launch, attempt
"""
FIGURES = """
SELECT cell, attempt, metric, value, unit FROM measurements JOIN cells USING (cell, attempt)
WHERE night <> '' AND night >= $since AND NOT starts_with(remark, 'invalid:'){only}
"""
#: Of one series: what it is measured of.
ONE = ("device", "model", "variant", "runtime", "workload")
SINCE = (
    "SELECT min(night) AS since FROM (SELECT DISTINCT night FROM cells WHERE night <> '' ORDER BY night DESC LIMIT ?)"
)


def folder(home: Home) -> Path:
    """Not made by a look."""
    return home.root / "nights"


def keep(home: Home, report: NightReport) -> Path:
    """Raises FarmError when there is no room, and for a night that has a report: that one stays."""
    path = home.folder("nights") / f"{report.night}.json"
    try:
        atomic.write_once(path, verdicts.dump(report))
    except FileExistsError as error:
        raise FarmError(f"the night {report.night} has its report already: {path}") from error
    return path


def report(home: Home, night: str) -> NightReport | None:
    """None where the night has none. Raises FarmError for one that cannot be read."""
    return _read(folder(home) / f"{night}.json")


def reports(home: Home, problems: dict[str, str] | None = None) -> list[NightReport]:
    """Every report, oldest first. One that cannot be read is an entry in `problems`; without that, FarmError."""
    found: list[NightReport] = []
    for path in sorted(folder(home).glob("*.json")):
        if not DATE.fullmatch(path.stem):
            continue
        try:
            if one := _read(path):
                found.append(one)
        except FarmError as error:
            if problems is None:
                raise
            problems[path.name] = str(error)
    return found


def _read(path: Path) -> NightReport | None:
    try:
        found = verdicts.load(path.read_bytes())
        if found.night != path.stem:
            raise ValueError(f"it is the report of {found.night or 'no night'}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FarmError(f"the night's report {path} cannot be read: {error}. Mend or remove it.") from error
    return found


def keep_request(home: Home, name: str, request: Mapping[str, Any]) -> Path:
    """A sweep file for `quantfarm sweep`, made new where it differs. Raises FarmError when there is no room."""
    path = home.folder("nights", "reproduce") / f"{name}.yaml"
    text = (json.dumps(request, ensure_ascii=False, indent=1) + "\n").encode()  # JSON is YAML
    if not path.exists() or path.read_bytes() != text:
        atomic.write_atomic(path, text)
    return path


def series(reader: Reader, nights: int = NIGHTS, only: SeriesKey | None = None) -> dict[SeriesKey, list[Point]]:
    """Every series (or the `only` one) with its nights in order; reruns and invalid figures are no part of it."""
    about = {"since": reader.query(SINCE, [nights])[0]["since"] or ""}
    about |= {name: getattr(only, name) for name in ONE} if only else {}
    clause = "".join(f" AND {name} = ${name}" for name in ONE) if only else ""
    figures: dict[tuple[str, int], list[_Figure]] = {}
    for row in reader.query(FIGURES.format(only=clause), about):
        if only is None or row["metric"] == only.metric:
            figures.setdefault((row["cell"], row["attempt"]), []).append(
                _Figure(row["metric"], row["value"], row["unit"])
            )
    found: dict[SeriesKey, dict[str, list[_Launch]]] = {}
    for row in reader.query(CELLS.format(only=clause), about):
        under = _attributes(row)
        for figure in figures.get((row["cell"], row["attempt"]), ()):
            launch = _Launch(row["cell"], row["launch"], row["simulated"], under, figure)
            found.setdefault(_key(row, figure.metric), {}).setdefault(row["night"], []).append(launch)
    return {key: [_point(night, these) for night, these in nights.items()] for key, nights in sorted(found.items())}


@dataclass(frozen=True, slots=True)
class _Figure:
    metric: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class _Launch:
    """One metric of one launch of a night."""

    cell: str
    number: int
    simulated: bool
    attributes: Mapping[str, str]
    figure: _Figure


def _key(row: Mapping[str, Any], metric: str) -> SeriesKey:
    return SeriesKey(
        device=row["device"],
        model=row["model"],
        variant=row["variant"],
        runtime=row["runtime"],
        workload=row["workload"],
        metric=metric,
    )


def _attributes(row: Mapping[str, Any]) -> dict[str, str]:
    return attributes(
        chip=row["chip"],
        build=row["build"],
        recipe=row["recipe"],
        artifact=row["artifact"] or "",
        parameters=json.loads(row["parameters"]),
        conditions=json.loads(row["conditions"]),
    )


def _point(night: str, launches: Sequence[_Launch]) -> Point:
    """Of a night that was measured under two circumstances (an upgrade in between), the later ones count."""
    now = launches[-1].attributes
    last = {one.cell: one for one in launches if one.attributes == now}  # the latest attempt of each
    counted = sorted(last.values(), key=lambda one: one.number)
    return Point(
        night=night,
        value=statistics.median(one.figure.value for one in counted),
        unit=counted[0].figure.unit,
        n=len(counted),
        cells=tuple(one.cell for one in counted),
        attributes=now,
        simulated=any(one.simulated for one in counted),
    )
