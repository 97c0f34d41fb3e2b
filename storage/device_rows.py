"""Carries the devices' records into an open database: what is there already stays, what is new is added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from quantfarm.health import Canary, Transition
from storage.devices import Registry
from storage.home import Home
from storage.journal import Damaged
from storage.rows import clean, json_text, utc

TRANSITIONS = pa.schema(
    [
        ("device", pa.string()),
        ("number", pa.int32()),
        ("before", pa.string()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("who", pa.string()),
        ("happened_at", pa.timestamp("us")),
        ("failures", pa.int32()),
    ]
)
CANARIES = pa.schema(
    [
        ("device", pa.string()),
        ("number", pa.int32()),
        ("happened_at", pa.timestamp("us")),
        ("series", pa.string()),
        ("runtime", pa.string()),
        ("build", pa.string()),
        ("clean", pa.bool_()),
        ("why", pa.string()),
        ("bench_pp", pa.float64()),
        ("bench_tg", pa.float64()),
        ("ppl", pa.float64()),
        ("conditions", pa.string()),
    ]
)
TABLES = {"device_transitions": TRANSITIONS, "canaries": CANARIES}


def load(connection: duckdb.DuckDBPyConnection, home: Home, version: int, problems: dict[str, str]) -> int:
    """Adds the rows that are not there yet, marked as content of `version`; how many. One transaction."""
    new = {table: _new(connection, home, table, problems) for table in TABLES}
    if not any(new.values()):
        return 0
    connection.begin()
    try:
        for table, rows in new.items():
            connection.register("new_rows", pa.Table.from_pylist(rows, schema=TABLES[table]))
            connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM new_rows")  # noqa: S608 (our own names)
            connection.unregister("new_rows")
        connection.execute("UPDATE publication SET version = ?", [version])
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    return sum(map(len, new.values()))


def _new(
    connection: duckdb.DuckDBPyConnection, home: Home, table: str, problems: dict[str, str]
) -> list[dict[str, Any]]:
    """Records only grow: what has a greater number than the greatest there is new."""
    known = dict(connection.execute(f"SELECT device, max(number) FROM {table} GROUP BY ALL").fetchall())  # noqa: S608
    return [row for row in _rows(home, table, problems) if row["number"] > known.get(row["device"], 0)]


def _rows(home: Home, table: str, problems: dict[str, str]) -> Iterator[dict[str, Any]]:
    registry = Registry(home)
    for device in registry.names():
        try:
            found: Sequence[Mapping[str, Any]] = (
                [_transition(row) for row in registry.history(device)]
                if table == "device_transitions"
                else [_canary(row) for row in registry.canaries(device)]
            )
        except Damaged as error:
            problems[device] = str(error)
            continue
        for number, row in enumerate(found, 1):
            yield clean({"number": number, **row})


def _transition(row: Transition) -> dict[str, Any]:
    return {
        "device": row.device,
        "before": row.before and str(row.before),
        "state": str(row.to),
        "reason": row.reason,
        "who": str(row.by),
        "happened_at": utc(row.at),
        "failures": row.failures,
    }


def _canary(row: Canary) -> dict[str, Any]:
    return {
        "device": row.device,
        "happened_at": utc(row.at),
        "series": row.series,
        "runtime": row.runtime,
        "build": row.build,
        "clean": row.clean,
        "why": row.why,
        **{name: row.figures.get(name) for name in ("bench_pp", "bench_tg", "ppl")},
        "conditions": json_text(row.conditions),
    }
