"""A candidate as one night measured it, to be compared with another night's."""

from __future__ import annotations

from quantfarm.candidates import Candidate
from storage.candidates import of_runs
from storage.reading import Reader
from storage.runs import FIELDS, VALUES, Figure, Run

WHOSE = (
    "state = 'ok' AND NOT starts_with(sweep, 'rerun-') AND night = $night AND device = $device AND model = $model"
    " AND variant = $variant AND runtime = $runtime"
)
CELLS = f"""
SELECT cell, attempt, device, simulated, model, variant, quant, recipe, artifact, size, bits_per_weight, types,
       fallbacks, runtime, build, workload_kind AS kind, workload, parameters, launch, series, state, stage, reason,
       started_at, conditions
FROM cells WHERE {WHOSE} ORDER BY started_at, cell, attempt
"""  # noqa: S608 (our own words)
FIGURES = f"""
SELECT cell, attempt, metric, {", ".join(VALUES)}
FROM measurements JOIN cells USING (cell, attempt) WHERE {WHOSE}
"""  # noqa: S608 (our own words)
NIGHTS = """
SELECT DISTINCT night FROM cells
WHERE night <> '' AND state = 'ok' AND device = $device AND model = $model AND variant = $variant
  AND runtime = $runtime ORDER BY night DESC
"""


def nights_of(reader: Reader, device: str, model: str, variant: str, runtime: str) -> list[str]:
    """The newest first."""
    asked = {"device": device, "model": model, "variant": variant, "runtime": runtime}
    return [row["night"] for row in reader.query(NIGHTS, asked)]


def night_side(reader: Reader, device: str, model: str, variant: str, runtime: str, night: str) -> Candidate | None:
    """None where the night has no measurement of it that went well."""
    asked = {"device": device, "model": model, "variant": variant, "runtime": runtime, "night": night}
    runs = {(row[0], row[1]): Run(**dict(zip(FIELDS, row, strict=True))) for row in reader.rows(CELLS, asked)}
    for cell, attempt, metric, *values in reader.rows(FIGURES, asked):
        runs[cell, attempt].figures[metric] = Figure(**dict(zip(VALUES, values, strict=True)))
    found = of_runs(reader, list(runs.values()))
    return found[0] if found else None
