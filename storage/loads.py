"""Sustained launches from the store, with what their raw traces say: for the throttle plots."""

from __future__ import annotations

from quantfarm.report.throttle_plot import Throttle, throttle_of
from quantfarm.runtimes import runtime
from storage.home import Home
from storage.landings import Landings
from storage.names import trace_path
from storage.reading import Reader

NEWEST = """
SELECT cell, attempt FROM cells
WHERE current AND state = 'ok' AND workload_kind = 'sustained'
  AND ($device IS NULL OR device = $device) AND ($model IS NULL OR model = $model)
QUALIFY row_number() OVER (PARTITION BY device, model, variant, runtime ORDER BY started_at DESC, cell) = 1
ORDER BY device, model, variant, runtime
"""


def throttles(home: Home, reader: Reader, device: str | None = None, model: str | None = None) -> list[Throttle]:
    """The newest sustained launch of each variant under each runtime; one whose trace cannot be read is left out."""
    landings = Landings(home)
    found: list[Throttle] = []
    for row in reader.query(NEWEST, {"device": device, "model": model}):
        landed = landings.get(row["cell"], row["attempt"])
        try:
            lines = trace_path(home, row["cell"], row["attempt"]).read_text("utf-8").splitlines()
            shown = throttle_of(landed, runtime(landed.cell.runtime).parse(lines)) if landed else None
        except (OSError, ValueError):  # it is gone, or not as it landed: `quantfarm db verify` says so
            shown = None
        found += [shown] if shown else []
    return found
