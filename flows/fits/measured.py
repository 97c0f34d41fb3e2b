"""What was measured of a model, in the form in which it can be predicted."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from quantfarm.nouns import Scalar, Workload, parameters
from storage.home import Home
from storage.reading import NoResults, Reader

#: Cells of one question are its launches; simulated devices are not measured, and invalid figures are no figures.
PEAKS = """
SELECT device, variant, format, runtime, build, workload, workload_kind AS kind, parameters, value
FROM cells JOIN measurements USING (cell, attempt)
WHERE current AND state = 'ok' AND NOT simulated AND metric = 'resident_peak' AND model = ?
  AND NOT starts_with(remark, 'invalid:')
ORDER BY device, runtime, variant, workload, started_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The median resident peak of a question's launches, in MiB."""

    device: str
    variant: str
    format: str
    runtime: str
    build: str
    label: str
    workload: Workload
    mib: float
    launches: int


def peaks(home: Home, model: str) -> list[Peak]:
    """Empty where nothing was measured."""
    try:
        with Reader(home, wait_s=0.0) as reader:
            rows = reader.query(PEAKS, [model])
    except NoResults:
        return []
    found: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        key = tuple(
            row[name] for name in ("device", "variant", "format", "runtime", "build", "workload", "kind", "parameters")
        )
        found.setdefault(key, []).append(row["value"])
    return list(_peaks(found))


def _peaks(found: Mapping[tuple[str, ...], list[float]]) -> Iterator[Peak]:
    for (device, variant, form, runtime, build, label, kind, given), values in found.items():
        settings: dict[str, Scalar] = json.loads(given) if isinstance(given, str) else given
        work = Workload(kind=kind, parameters=parameters(dict(settings)))
        yield Peak(
            device=device,
            variant=variant,
            format=form,
            runtime=runtime,
            build=build,
            label=label,
            workload=work,
            mib=statistics.median(values),
            launches=len(values),
        )
