"""One measurement: every attempt of its cell, with what it was asked, how it ended, its figures and its conditions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage.reading import Reader
from storage.runs import INVALID, Figure, Run

ATTEMPTS = """
SELECT cell, attempt, current, device, chip, simulated, model, variant, runtime, build, workload_kind AS kind, workload,
       parameters, launch, series, state, stage, reason, retryable, started_at, seconds, sweep, night, artifact, size,
       bits_per_weight, conditions, trace_sha256, trace_size
FROM cells WHERE cell = ? ORDER BY attempt
"""
FIGURES = """
SELECT metric, value, unit, n, low, high, remark FROM measurements WHERE cell = ? AND attempt = ? ORDER BY rowid
"""
ALIKE = """
SELECT cell, launch, state, max(started_at) AS started_at, any_value(build) AS build
FROM cells
WHERE current AND device = $device AND model = $model AND variant = $variant AND workload = $workload
GROUP BY cell, launch, state ORDER BY launch, started_at DESC, cell
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """As it landed. `started_at` is UTC; `night` is empty where a person asked; `trace_size` None: nothing ran."""

    cell: str
    attempt: int
    current: bool
    device: str
    chip: str
    simulated: bool
    model: str
    variant: str
    runtime: str
    build: str
    kind: str
    workload: str
    parameters: Mapping[str, Any]
    launch: int
    series: str
    state: str
    stage: str
    reason: str
    retryable: bool
    started_at: datetime | None
    seconds: float
    sweep: str
    night: str
    artifact: str | None
    size: int | None
    bits_per_weight: float | None
    conditions: Mapping[str, Any]
    trace_sha256: str | None
    trace_size: int | None

    @property
    def ok(self) -> bool:
        return self.state == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """A cell that asks the same of the same variant on the same device: another launch, or another build."""

    cell: str
    launch: int
    state: str
    started_at: datetime | None
    build: str


def attempts(reader: Reader, cell: str) -> list[Attempt]:
    """In order; empty for a cell that the results do not have."""
    return [_attempt(row) for row in reader.query(ATTEMPTS, [cell])]


def _attempt(row: dict[str, Any]) -> Attempt:
    given: dict[str, Any] = {name: json.loads(row[name]) for name in ("parameters", "conditions")}
    return Attempt(**{**row, **given, "night": row["night"] or ""})


def figures(reader: Reader, of: Attempt) -> dict[str, Figure]:
    """By metric, as they landed."""
    return {row.pop("metric"): Figure(**row) for row in reader.query(FIGURES, [of.cell, of.attempt])}


def judged(landed: Mapping[str, Figure], of: Attempt, runs: Sequence[Run]) -> Mapping[str, Figure]:
    """As a canary of its device judges them (`runs`: those that count, of `read_runs`)."""
    found = next((run for run in runs if (run.cell, run.attempt) == (of.cell, of.attempt)), None)
    return found.figures if found and found.figures.keys() == landed.keys() else landed


def without_mark(figure: Figure) -> str:
    """Its remark without the mark of an invalid figure."""
    return figure.remark.removeprefix(INVALID).strip()


def alike(reader: Reader, *, device: str, model: str, variant: str, workload: str) -> list[Alike]:
    """What there is to choose from, launch by launch."""
    about = {"device": device, "model": model, "variant": variant, "workload": workload}
    return [Alike(**row) for row in reader.query(ALIKE, about)]
