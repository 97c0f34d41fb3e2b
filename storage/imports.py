"""What was imported, as rows: each with where it comes from, none of them a measurement of this farm."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from storage.import_rows import IMPORTED
from storage.reading import Reader

ROWS = """
SELECT i.device, i.model, i.variant, i.runtime, i.build, i.workload, i.metric, i.value, i.unit, i.statistic, i.n,
       i.spread, i.spread_is, i.measured_at, s.tool, s.version, s.file, i.line, s.format, s.device_said,
       strftime(s.imported_at, '%Y-%m-%dT%H:%M:%SZ') AS imported_at, s.imported_by, i.source, i.extra
FROM imported AS i JOIN imports AS s USING (source)
WHERE ($device IS NULL OR i.device = $device) AND ($model IS NULL OR i.model = $model)
ORDER BY i.device, i.model, i.variant, i.metric, i.workload, s.imported_at, i.source, i.position
"""
#: A database that was published by a program which knew no imports.
KNOWN = "SELECT count(*) AS n FROM duckdb_tables() WHERE table_name = 'imported'"
_OWN = ("tool", "version", "file", "line", "format", "device_said", "imported_at", "imported_by", "source", "extra")
_FIGURE = [IMPORTED.field(name) for name in IMPORTED.names if name not in (*_OWN, "position")]
#: For CSV and Parquet, in the order of a row.
COLUMNS = pa.schema(
    [
        *_FIGURE,
        *((name, pa.int64() if name == "line" else pa.string()) for name in _OWN),
        ("imported", pa.bool_()),
    ]
)


def imported(reader: Reader, device: str | None = None, model: str | None = None) -> list[dict[str, Any]]:
    """One row per imported figure, with `imported` true and its provenance.

    `device` is empty where neither the file nor who imported it says one; `extra` is JSON text; `n`, `spread` are
    None where the file does not say. Empty for names of which nothing was imported.
    """
    if not reader.query(KNOWN)[0]["n"]:
        return []
    return [row | {"imported": True} for row in reader.query(ROWS, {"device": device, "model": model})]
