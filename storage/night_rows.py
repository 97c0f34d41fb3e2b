"""Carries the reports of nights into an open database: what is there already stays, what is new is added."""

from __future__ import annotations

import hashlib
from typing import Any

import duckdb
import pyarrow as pa

from quantfarm.nightly.verdicts import Level, NightReport, Verdict
from storage import nights
from storage.home import Home
from storage.rows import clean, json_text, utc

TEXT, NUMBER = pa.string(), pa.float64()
NIGHTS = pa.schema(
    [
        ("night", TEXT),
        ("began_at", pa.timestamp("us")),
        ("finished_at", pa.timestamp("us")),
        ("sweeps", pa.list_(TEXT)),
        ("counts", TEXT),
        ("file_sha256", TEXT),
    ]
)
VERDICTS = pa.schema(
    [
        *((name, TEXT) for name in ("night", "series", "device", "model", "variant", "runtime", "workload", "metric")),
        *((name, TEXT) for name in ("kind", "reason", "unit")),
        *((f"{level}_{name}", NUMBER) for level in ("old", "new") for name in ("value", "low", "high")),
        ("ratio", NUMBER),
        ("p", NUMBER),
        ("first_bad", TEXT),
        ("last_good", TEXT),
        ("confirmed_by", TEXT),
        *((f"confirmed_{name}", NUMBER) for name in ("ratio", "low", "high", "p")),
        ("confirmed_n", pa.int32()),
        *((name, TEXT) for name in ("changed", "suspect", "reproduce")),
        ("simulated", pa.bool_()),
    ]
)
TABLES = {"nights": NIGHTS, "verdicts": VERDICTS}


def load(connection: duckdb.DuckDBPyConnection, home: Home, version: int, problems: dict[str, str]) -> int:
    """Adds the nights that are not there yet, marked as content of `version`; how many rows. One transaction."""
    known = {night for (night,) in connection.execute("SELECT night FROM nights").fetchall()}
    new = [one for one in nights.reports(home, problems) if one.night not in known]
    if not new:
        return 0
    rows = {
        "nights": [clean(_night(home, one)) for one in new],
        "verdicts": [clean(_verdict(one.night, verdict)) for one in new for verdict in _once(one)],
    }
    connection.begin()
    try:
        for table, schema in TABLES.items():
            connection.register("new_rows", pa.Table.from_pylist(rows[table], schema=schema))
            connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM new_rows")  # noqa: S608 (our own names)
            connection.unregister("new_rows")
        connection.execute("UPDATE publication SET version = ?", [version])
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    return sum(map(len, rows.values()))


def _once(report: NightReport) -> list[Verdict]:
    """The last of each series."""
    return list({one.series.id: one for one in report.verdicts}.values())


def _night(home: Home, report: NightReport) -> dict[str, Any]:
    file = nights.folder(home) / f"{report.night}.json"
    return {
        "night": report.night,
        "began_at": utc(report.began_at),
        "finished_at": utc(report.finished_at),
        "sweeps": list(report.sweeps),
        "counts": json_text(dict(report.counts)),
        "file_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


def _verdict(night: str, one: Verdict) -> dict[str, Any]:
    key, again = one.series, one.confirmation
    level = one.new or one.old
    return {
        "night": night,
        "series": key.id,
        "device": key.device,
        "model": key.model,
        "variant": key.variant,
        "runtime": key.runtime,
        "workload": key.workload,
        "metric": key.metric,
        "kind": str(one.kind),
        "reason": one.reason,
        "unit": level.unit if level else "",
        **_level("old", one.old),
        **_level("new", one.new),
        "ratio": one.ratio,
        "p": one.p,
        "first_bad": one.first_bad,
        "last_good": one.last_good,
        "confirmed_by": again and again.how,
        "confirmed_ratio": again and again.ratio,
        "confirmed_low": again and again.low,
        "confirmed_high": again and again.high,
        "confirmed_p": again and again.p,
        "confirmed_n": again and again.n,
        "changed": json_text({name: list(pair) for name, pair in one.changed.items()}),
        "suspect": one.suspect,
        "reproduce": one.reproduce,
        "simulated": one.simulated,
    }


def _level(name: str, level: Level | None) -> dict[str, float | None]:
    return {
        f"{name}_value": level and level.value,
        f"{name}_low": level and level.low,
        f"{name}_high": level and level.high,
    }
