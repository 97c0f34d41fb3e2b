"""Rows as the bytes of a table: CSV or Parquet, with the columns of a schema."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Rows = Sequence[Mapping[str, Any]]


def to_csv(rows: Rows, schema: pa.Schema) -> str:
    """With a header line; None and what is no finite number is empty, truth is `true` or `false`."""
    out = io.StringIO()
    writer = csv.DictWriter(out, schema.names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def to_parquet(rows: Rows, schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), sink)
    return sink.getvalue().to_pybytes()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value).lower() if isinstance(value, bool) else value
