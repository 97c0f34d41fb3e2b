"""Sustained launches from the store, with what their raw traces say: for the throttle plots."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from quantfarm.metrics.windows import OF_THE_PROCESS
from quantfarm.report.throttles import Throttle, throttle_of
from quantfarm.runtimes import runtime
from storage.home import Home
from storage.landings import Landings
from storage.names import trace_path
from storage.reading import Reader

#: A line with such a sample, however its runner spaces it.
PROCESS = re.compile(f'"source": ?"(?:{"|".join(sorted(OF_THE_PROCESS))})"')
NEWEST = """
SELECT cell, attempt FROM cells
WHERE current AND state = 'ok' AND workload_kind = 'sustained'
  AND ($device IS NULL OR device = $device) AND ($model IS NULL OR model = $model)
QUALIFY row_number() OVER (PARTITION BY device, model, variant, runtime ORDER BY started_at DESC, cell) = 1
ORDER BY device, model, variant, runtime
"""


#: Of launches that never went well the newest, with why.
EVERY = """
SELECT cell, attempt, device, model, variant, runtime, build, simulated, workload, state = 'ok' AS ok,
       concat_ws(': ', nullif(stage, ''), reason) AS failure
FROM cells WHERE current AND workload_kind = 'sustained'
QUALIFY row_number() OVER (
    PARTITION BY device, model, variant, runtime ORDER BY state = 'ok' DESC, started_at DESC, cell
) = 1
ORDER BY simulated, device, model, variant, runtime
"""
ENERGY = """
SELECT value, remark FROM measurements
WHERE cell = ? AND attempt = ? AND metric = 'sustained_energy' AND NOT starts_with(remark, 'invalid:')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The newest sustained launch of a variant under a runtime; `failure`: why it has no figures."""

    cell: str
    attempt: int
    device: str
    model: str
    variant: str
    runtime: str
    build: str
    simulated: bool
    workload: str
    ok: bool
    failure: str


def launches(reader: Reader) -> list[Launch]:
    """Real devices before simulated ones."""
    return [Launch(**row) for row in reader.query(EVERY)]


def energy(reader: Reader, cell: str, attempt: int) -> tuple[float, str] | None:
    """J/token and what a reader must know of it; None where no power was read."""
    return next(iter(reader.rows(ENERGY, [cell, attempt])), None)


def throttle(home: Home, cell: str, attempt: int) -> Throttle | None:
    """None of a launch whose trace is gone, or is not as it landed: `quantfarm db verify` says so."""
    landed = Landings(home).get(cell, attempt)
    try:
        lines = _lines(trace_path(home, cell, attempt))
        return throttle_of(landed, runtime(landed.cell.runtime).parse(lines)) if landed else None
    except (OSError, ValueError):
        return None


def throttles(home: Home, reader: Reader, device: str | None = None, model: str | None = None) -> list[Throttle]:
    """The newest sustained launch of each variant under each runtime; one whose trace cannot be read is left out."""
    newest = reader.query(NEWEST, {"device": device, "model": model})
    found = (throttle(home, row["cell"], row["attempt"]) for row in newest)
    return [one for one in found if one]


def _lines(trace: Path) -> list[str]:
    """Without the samples of the process itself: ten a second, and no throttle plot shows them. Raises OSError."""
    with trace.open(encoding="utf-8") as lines:
        return [line for line in lines if not ('"sample"' in line and PROCESS.search(line))]
