"""Raw traces into `samples`, `repetitions`, `chunks`, `texts` and `items`, read by DuckDB straight from the files.

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
RUN_COLUMNS = (
    "{event: 'VARCHAR', t: 'BIGINT', source: 'VARCHAR', \"values\": 'MAP(VARCHAR, DOUBLE)', mode: 'VARCHAR',"
    " repetition: 'INTEGER', tokens: 'INTEGER', depth: 'INTEGER', seconds: 'DOUBLE', until: 'BIGINT',"
    " submit: 'BIGINT', times: 'BIGINT[]'}"
)
QUALITY_COLUMNS = (
    "{event: 'VARCHAR', \"index\": 'INTEGER', n: 'INTEGER', nll: 'DOUBLE[]', text_sha256: 'VARCHAR',"
    " token_sha256: 'VARCHAR', n_tokens: 'BIGINT', n_chunks: 'INTEGER', n_ctx: 'INTEGER', add_bos: 'BOOLEAN',"
    " bytes: 'BIGINT'}"
)
RUN = """
CREATE OR REPLACE TEMP TABLE run_events AS
SELECT cell, attempt, e.* EXCLUDE (filename)
FROM {events} AS e JOIN landed_traces ON e.filename = landed_traces.file
WHERE event IN ('sample', 'prefill', 'decode')
"""
SAMPLES = """
INSERT INTO samples
SELECT cell, attempt, t, source, unnest(map_keys("values")), unnest(map_values("values"))
FROM run_events WHERE event = 'sample'
"""
#: The same windows as quantfarm.metrics.windows: an app's prompt is read from its submission to the first token.
REPETITIONS = """
INSERT INTO repetitions
SELECT cell, attempt, event, mode, repetition, tokens, depth, seconds,
       TRY_CAST(round(until - seconds * 1e9) AS BIGINT), until
FROM run_events WHERE event <> 'sample' AND mode IS DISTINCT FROM 'app'
UNION ALL
SELECT p.cell, p.attempt, 'prefill', 'app', p.repetition, p.tokens, p.depth, p.seconds, d.submit, d.times[1]
FROM run_events AS p
LEFT JOIN (FROM run_events WHERE event = 'decode' AND mode = 'app') AS d USING (cell, attempt, repetition)
WHERE p.event = 'prefill' AND p.mode = 'app'
UNION ALL
SELECT cell, attempt, 'decode', 'app', repetition, len(times) - 1, depth,
       (times[-1]::DOUBLE - times[1]::DOUBLE) / 1e9, times[1], times[-1]
FROM run_events WHERE event = 'decode' AND mode = 'app'
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

ITEM_COLUMNS = (
    "{event: 'VARCHAR', doc: 'INTEGER', doc_hash: 'VARCHAR', \"group\": 'VARCHAR', gold: 'INTEGER', ll: 'DOUBLE[]',"
    " greedy: 'BOOLEAN[]', lengths: 'DOUBLE[]', cached: 'BOOLEAN'}"
)
#: The same rules as quantfarm.metrics.tasks: the first of equally likely choices, one continuation by its being greedy.
ITEMS = """
INSERT INTO items
WITH found AS (
    SELECT cell, attempt, e.* EXCLUDE (filename),
           list_transform(ll, lambda x, i: x / greatest(1, lengths[i])) AS per_character,
           list_filter(ll, lambda x, i: i <> gold + 1) AS wrong
    FROM {events} AS e JOIN landed_traces ON e.filename = landed_traces.file
    WHERE event = 'item' AND doc IS NOT NULL AND doc_hash IS NOT NULL AND gold BETWEEN 0 AND len(ll) - 1
      AND len(lengths) = len(ll) AND len(greedy) = len(ll)
), chosen AS (
    SELECT *, list_position(ll, list_max(ll)) - 1 AS likeliest,
           list_position(per_character, list_max(per_character)) - 1 AS likeliest_norm
    FROM found
)
SELECT cell, attempt, doc, doc_hash, coalesce("group", ''), gold, likeliest, likeliest_norm,
       CASE WHEN len(ll) = 1 THEN greedy[1] ELSE likeliest = gold END,
       CASE WHEN len(ll) = 1 THEN greedy[1] ELSE likeliest_norm = gold END,
       ll[gold + 1] - list_max(wrong), ll, coalesce(cached, false)
FROM chosen
"""


@dataclass(frozen=True, slots=True)
class Raw:
    """A landed trace and whose it is. Only quality cells have chunks and a text, only tasks have items.

    `parsed`: its runtime read every line of it, so all are events. Any other may hold garbage, which can
    upset DuckDB's reader: a line that is only a number or `[` costs the line after it, too.
    """

    path: Path
    cell: str
    attempt: int
    quality: bool
    parsed: bool
    tasks: bool = False

    @classmethod
    def of(cls, landed: Landed, path: Path) -> Raw:
        quality, parsed = landed.cell.workload.kind == "quality", landed.outcome.state is State.OK
        return cls(path, landed.cell.id, landed.attempt, quality, parsed, landed.cell.workload.kind == "tasks")

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
    _run(connection, found)
    if quality := [trace for trace in found if trace.quality]:
        _quality(connection, quality)
    if tasks := [trace for trace in found if trace.tasks]:
        connection.execute(ITEMS.format(events=_read(ITEM_COLUMNS)), [_paths(tasks)])
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


def _run(connection: duckdb.DuckDBPyConnection, found: Sequence[Raw]) -> None:
    connection.execute(RUN.format(events=_read(RUN_COLUMNS)), [_paths(found)])
    connection.execute(SAMPLES)
    connection.execute(REPETITIONS)
    connection.execute("DROP TABLE run_events")


def _quality(connection: duckdb.DuckDBPyConnection, found: Sequence[Raw]) -> None:
    connection.execute(QUALITY.format(events=_read(QUALITY_COLUMNS)), [_paths(found)])
    connection.execute(CHUNKS)
    connection.execute(TEXTS)
    connection.execute("DROP TABLE quality_events")
