"""The attempts that count, with their figures, as read from a published database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from quantfarm.errors import unknown
from storage import canaries
from storage.reading import Reader

INVALID = "invalid:"

#: Attempts that count: of one device also the quality that others measured of its models and files, which its figures
#: are taken from and judged by.
OF = """
current AND ($model IS NULL OR model = $model) AND ($device IS NULL OR device = $device OR (
    workload_kind IN ('quality', 'rolling', 'tasks')
    AND (model IN (SELECT model FROM cells WHERE device = $device)
         OR artifact IN (SELECT artifact FROM cells WHERE device = $device))))
"""
CELLS = f"""
SELECT cell, attempt, device, simulated, model, variant, quant, recipe, artifact, size, bits_per_weight, types,
       fallbacks, runtime, build, workload_kind, workload, parameters, launch, series, state, stage, reason,
       started_at, conditions
FROM cells WHERE {OF} ORDER BY started_at, cell
"""  # noqa: S608 (our own words)
FIGURES = f"""
SELECT cell, metric, value, unit, n, low, high, remark
FROM measurements JOIN cells USING (cell, attempt)
WHERE {OF} AND state = 'ok' AND ($metric IS NULL OR metric = $metric)
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One metric of one launch; see quantfarm.nouns.Measurement."""

    value: float
    unit: str
    n: int
    low: float | None
    high: float | None
    remark: str

    @property
    def valid(self) -> bool:
        return not self.remark.startswith(INVALID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The attempt of a cell that counts. `types`, `fallbacks`, `parameters`, `conditions` are JSON text."""

    cell: str
    attempt: int
    device: str
    simulated: bool
    model: str
    variant: str
    quant: str
    recipe: str
    artifact: str | None
    size: int | None
    bits_per_weight: float | None
    types: str | None
    fallbacks: str | None
    runtime: str
    build: str
    kind: str
    workload: str
    parameters: str
    launch: int
    series: str
    state: str
    stage: str
    reason: str
    started_at: datetime | None
    conditions: str
    figures: dict[str, Figure] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.state == "ok"

    @property
    def key(self) -> tuple[str, int]:
        return (self.cell, self.attempt)

    @property
    def time(self) -> datetime:
        """When it started; long ago where that is not known."""
        return self.started_at or datetime.min

    @property
    def settings(self) -> Mapping[str, Any]:
        return json.loads(self.parameters)

    @property
    def failure(self) -> str:
        return f"{self.stage}: {self.reason}" if self.stage else self.reason


#: The columns of CELLS as a run has them.
FIELDS = tuple(f.name for f in fields(Run) if f.name != "figures")
VALUES = tuple(f.name for f in fields(Figure))


def read_runs(
    reader: Reader, model: str | None = None, device: str | None = None, metric: str | None = None
) -> list[Run]:
    """Oldest first, judged by the canaries. Raises UsageError for a model that nothing was measured of.

    `device`: its runs, and those of others that its figures depend on (OF). `metric`: the only figure that is read.
    """
    asked = {"model": model, "device": device}
    runs = {row[0]: Run(**dict(zip(FIELDS, row, strict=True))) for row in reader.rows(CELLS, asked)}
    if model is not None and not runs and model not in (known := list(_known(reader, "model"))):
        raise unknown("model", model, known, "the results")
    for cell, name, *values in reader.rows(FIGURES, asked | {"metric": metric}):
        runs[cell].figures[name] = Figure(**dict(zip(VALUES, values, strict=True)))
    return canaries.judged(reader, list(runs.values()), INVALID)


def check_device(reader: Reader, device: str | None) -> None:
    """Raises UsageError for a device that nothing was measured on."""
    if device is not None and device not in (known := list(_known(reader, "device"))):
        raise unknown("device", device, known, "the results")


def _known(reader: Reader, column: str) -> Iterator[str]:
    for row in reader.query(f"SELECT DISTINCT {column} AS name FROM cells"):  # noqa: S608 (our own names)
        yield row["name"]
