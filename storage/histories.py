"""What is known of each series of nights: a list of all, and the history of one, from the published database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantfarm.nightly import history as histories
from quantfarm.nightly.candidates import Rules
from quantfarm.nightly.history import History
from quantfarm.nightly.series import SeriesKey
from quantfarm.nightly.verdicts import Confirmation, Kind, Verdict
from storage import nights
from storage.reading import Reader

#: A series that was never measured has a verdict all the same: no data.
KNOWN = """
WITH measured AS (
    SELECT device, model, variant, runtime, workload, metric, night, simulated
    FROM measurements JOIN cells USING (cell, attempt)
    WHERE state = 'ok' AND night <> '' AND NOT starts_with(sweep, 'rerun-') AND NOT starts_with(remark, 'invalid:')
), told AS (
    SELECT device, model, variant, runtime, workload, metric, night, simulated FROM verdicts
)
SELECT device, model, variant, runtime, workload, metric, count(DISTINCT night) FILTER (measured) AS nights,
       max(night) AS last, bool_or(simulated) AS simulated
FROM (SELECT *, true AS measured FROM measured UNION ALL SELECT *, false FROM told)
GROUP BY ALL ORDER BY ALL
"""
EVERY = "SELECT DISTINCT night FROM cells WHERE night <> '' UNION SELECT night FROM nights ORDER BY night"
NEWS = "SELECT * FROM verdicts WHERE series = ? AND kind NOT IN ('unchanged', 'young') ORDER BY night"
MEASURED = """
SELECT night, min(value) AS low, max(value) AS high, count(*) AS n, arg_min(cell, launch) AS cell,
       arg_min(attempt, launch) AS attempt
FROM measurements JOIN cells USING (cell, attempt)
WHERE metric = $metric AND night <> '' AND list_contains($cells, cell) AND NOT starts_with(sweep, 'rerun-')
  AND NOT starts_with(remark, 'invalid:')
GROUP BY night
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A series, in how many nights it was measured, and the last that says anything of it."""

    key: SeriesKey
    nights: int
    last: str
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Launches:
    """Of one night: the lowest and the highest of its `n` launches, and one of them to look up."""

    low: float
    high: float
    n: int
    cell: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """`launches`: by night."""

    history: History
    launches: Mapping[str, Launches]


def known(reader: Reader) -> list[Watched]:
    """Every series, in order of its names."""
    return [
        Watched(
            key=SeriesKey(**{name: row[name] for name in (*nights.ONE, "metric")}),
            nights=row["nights"],
            last=row["last"],
            simulated=row["simulated"],
        )
        for row in reader.query(KNOWN)
    ]


def history(reader: Reader, key: SeriesKey, rules: Rules | None = None) -> Told:
    """One series with its gaps, forks, changes and news."""
    points = nights.series(reader, only=key).get(key, [])
    every = [row["night"] for row in reader.query(EVERY)]
    news = [_verdict(key, row) for row in reader.query(NEWS, [key.id])]
    cells = sorted({cell for point in points for cell in point.cells})
    measured = reader.query(MEASURED, {"metric": key.metric, "cells": cells}) if cells else []
    return Told(
        history=histories.compose(key, points, every, news, rules),
        launches={row.pop("night"): Launches(**row) for row in measured},
    )


def _verdict(key: SeriesKey, row: Mapping[str, Any]) -> Verdict:
    """As the database has it, without its levels: of how many nights those are it does not say."""
    return Verdict(
        series=key,
        kind=Kind(row["kind"]),
        reason=row["reason"],
        night=row["night"],
        ratio=row["ratio"],
        p=row["p"],
        first_bad=row["first_bad"],
        last_good=row["last_good"],
        confirmation=_confirmation(row),
        suspect=row["suspect"],
        reproduce=row["reproduce"],
        simulated=row["simulated"],
    )


def _confirmation(row: Mapping[str, Any]) -> Confirmation | None:
    if row["confirmed_by"] is None:
        return None
    return Confirmation(
        how=row["confirmed_by"],
        ratio=row["confirmed_ratio"],
        p=row["confirmed_p"],
        n=row["confirmed_n"],
        low=row["confirmed_low"],
        high=row["confirmed_high"],
    )
