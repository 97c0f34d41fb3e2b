"""What is behind a candidate's figure: the measurements themselves, with when and where each was taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from quantfarm.candidates import Candidate
from quantfarm.decide.versus import Taken
from quantfarm.suites import QUALITY
from storage.reading import Reader

CELLS = """
SELECT cell, attempt, device, chip, variant, runtime, build, coalesce(artifact, '') AS artifact, workload,
       workload_kind AS kind, launch, sweep, started_at, value, unit
FROM cells JOIN measurements USING (cell, attempt)
WHERE current AND state = 'ok' AND model = $model AND metric = $metric AND NOT starts_with(remark, 'invalid:')
  AND (device = $device OR workload_kind IN ('quality', 'rolling', 'tasks'))
ORDER BY variant, runtime, launch, started_at, cell
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """One launch's figure, in `unit`; `cell` and `attempt` are what the view of a cell is asked for."""

    cell: str
    attempt: int
    device: str
    chip: str
    variant: str
    runtime: str
    build: str
    artifact: str
    workload: str
    kind: str
    launch: int
    sweep: str
    started_at: datetime | None
    value: float
    unit: str


def behind(reader: Reader, device: str, model: str, metric: str) -> list[Behind]:
    """Every launch that gives a metric of a model on a device; quality from other devices too. Invalid ones are not
    among them."""
    return [Behind(**row) for row in reader.query(CELLS, {"device": device, "model": model, "metric": metric})]


def of(candidate: Candidate, metric: str, known: list[Behind]) -> list[Behind]:
    """Those of `known` that the candidate's figure may be from, its own device's first, then by launch."""
    found = [one for one in known if _is_of(one, candidate, metric)]
    return sorted(found, key=lambda one: (one.device != candidate.device, one.build != candidate.build, one.launch))


def _is_of(one: Behind, candidate: Candidate, metric: str) -> bool:
    alike = (one.variant, one.runtime, one.workload) == (
        candidate.variant,
        candidate.runtime,
        candidate.workloads.get(metric, one.workload),
    )
    own = (one.device, one.build) == (candidate.device, candidate.build)
    return alike and (own or (one.kind in QUALITY and one.artifact == candidate.artifact))


TAKEN = """
SELECT metric, workload, epoch(started_at) AS at, value
FROM cells JOIN measurements USING (cell, attempt)
WHERE current AND state = 'ok' AND device = $device AND model = $model AND variant = $variant AND runtime = $runtime
  AND build = $build AND NOT starts_with(remark, 'invalid:') AND started_at IS NOT NULL
ORDER BY metric, launch
"""


def taken(
    reader: Reader, device: str, model: str, variant: str, runtime: str, build: str
) -> dict[tuple[str, str], list[Taken]]:
    """When each launch of a candidate was: by metric and workload."""
    asked = {"device": device, "model": model, "variant": variant, "runtime": runtime, "build": build}
    found: dict[tuple[str, str], list[Taken]] = {}
    for metric, workload, at, value in reader.rows(TAKEN, asked):
        found.setdefault((metric, workload), []).append(Taken(at, value))
    return found
