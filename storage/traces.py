"""Raw traces into the tables `samples`, `chunks` and `texts`, read by DuckDB straight from the files.

Lines that are no events (a runner that printed garbage) are passed over: the trace of a failed run is evidence too.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from quantfarm.nouns import Landed, State

READ = "read_json(?, format = 'newline_delimited', ignore_errors = true, filename = true, columns = {columns})"
SAMPLE_COLUMNS = "{event: 'VARCHAR', t: 'BIGINT', source: 'VARCHAR', \"values\": 'MAP(VARCHAR, DOUBLE)'}"
QUALITY_COLUMNS = (
    "{event: 'VARCHAR', \"index\": 'INTEGER', n: 'INTEGER', nll: 'DOUBLE[]', text_sha256: 'VARCHAR',"
    " token_sha256: 'VARCHAR', n_tokens: 'BIGINT', n_chunks: 'INTEGER', n_ctx: 'INTEGER', add_bos: 'BOOLEAN',"
    " bytes: 'BIGINT'}"
)
SAMPLES = """
INSERT INTO samples
SELECT cell, attempt, t, source, unnest(map_keys("values")), unnest(map_values("values"))
FROM {events} AS e JOIN landed_traces ON e.filename = landed_traces.file WHERE event = 'sample'
"""
QUALITY = """
CREATE OR REPLACE TEMP TABLE quality_events AS
SELECT cell, attempt, e.* EXCLUDE (filename)
FROM {events} AS e JOIN landed_traces ON e.filename = landed_traces.file WHERE event IN ('chunk', 'tokens')
"""
#: Summed with error compensation, so that the order of adding does not show.
CHUNKS = """
INSERT INTO chunks
SELECT cell, attempt, "index", n, list_aggregate(nll, 'fsum') FROM quality_events WHERE event = 'chunk'
"""
TEXTS = """
INSERT INTO texts
SELECT cell, attempt, text_sha256, token_sha256, n_tokens, n_chunks, n_ctx, add_bos, bytes
FROM quality_events WHERE event = 'tokens'
"""


@dataclass(frozen=True, slots=True)
class Raw:
    """A landed trace and whose it is. Only quality cells have chunks and a text.

    `parsed`: its runtime read every line of it, so all are events. Any other may hold garbage, which can
    upset DuckDB's reader: a line that is only a number or `[` costs the line after it, too.
    """

    path: Path
    cell: str
    attempt: int
    quality: bool
    parsed: bool

    @classmethod
    def of(cls, landed: Landed, path: Path) -> Raw:
        quality, parsed = landed.cell.workload.kind == "quality", landed.outcome.state is State.OK
        return cls(path, landed.cell.id, landed.attempt, quality, parsed)

    def cleaned(self, folder: Path) -> Raw:
        """A copy in which every line is an event with each key once: what no garbage can upset."""
        copy = folder / self.path.name
        with self.path.open(encoding="utf-8", errors="replace") as lines, copy.open("w", encoding="ascii") as out:
            out.writelines(json.dumps(event) + "\n" for event in map(_event, lines) if event)
        return replace(self, path=copy)


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def load(connection: duckdb.DuckDBPyConnection, found: Sequence[Raw]) -> None:
    """Loads traces inside the caller's transaction. Raises duckdb.InvalidInputException for a key given twice."""
    if not found:
        return
    connection.register("landed_traces", _whose(found))
    _samples(connection, found)
    if quality := [trace for trace in found if trace.quality]:
        _quality(connection, quality)
    connection.unregister("landed_traces")


def _whose(found: Sequence[Raw]) -> pa.Table:
    return pa.table(
        {
            "file": [str(trace.path) for trace in found],
            "cell": [trace.cell for trace in found],
            "attempt": pa.array([trace.attempt for trace in found], pa.int32()),
        }
    )


def _read(columns: str) -> str:
    return READ.format(columns=columns)


def _paths(found: Sequence[Raw]) -> list[str]:
    return [glob.escape(str(trace.path)) for trace in found]


def _samples(connection: duckdb.DuckDBPyConnection, found: Sequence[Raw]) -> None:
    connection.execute(SAMPLES.format(events=_read(SAMPLE_COLUMNS)), [_paths(found)])


def _quality(connection: duckdb.DuckDBPyConnection, found: Sequence[Raw]) -> None:
    connection.execute(QUALITY.format(events=_read(QUALITY_COLUMNS)), [_paths(found)])
    connection.execute(CHUNKS)
    connection.execute(TEXTS)
    connection.execute("DROP TABLE quality_events")
