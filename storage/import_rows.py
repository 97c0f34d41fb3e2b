"""Carries imported files into an open database, and out of it again what is imported no more."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from quantfarm.errors import FarmError
from quantfarm.exchange.figure import Figure
from storage import import_files
from storage.home import Home
from storage.import_files import Provenance
from storage.rows import clean, json_text, utc

TEXT, WHOLE, NUMBER = pa.string(), pa.int64(), pa.float64()
IMPORTS = pa.schema(
    [
        *((name, TEXT) for name in ("source", "file", "format", "tool", "version", "device_said")),
        ("size", WHOLE),
        ("imported_at", pa.timestamp("us")),
        *((name, TEXT) for name in ("imported_by", "about_sha256")),
    ]
)
IMPORTED = pa.schema(
    [
        ("source", TEXT),
        ("position", WHOLE),
        ("line", WHOLE),
        *((name, TEXT) for name in ("device", "model", "variant", "runtime", "build", "workload", "metric")),
        ("value", NUMBER),
        *((name, TEXT) for name in ("unit", "statistic")),
        ("n", WHOLE),
        ("spread", NUMBER),
        *((name, TEXT) for name in ("spread_is", "measured_at", "extra")),
    ]
)
TABLES = {"imports": IMPORTS, "imported": IMPORTED}


def load(connection: duckdb.DuckDBPyConnection, home: Home, version: int, problems: dict[str, str]) -> int:
    """Makes the tables what the files say, marked as content of `version`; how many files came or went.

    One transaction. A file that cannot be read is named in `problems`; what the database has of it stays.
    """
    known = {source for (source,) in connection.execute("SELECT source FROM imports").fetchall()}
    there = import_files.sources(home)
    gone = sorted(known - set(there))
    rows = _rows(home, [source for source in there if source not in known], problems)
    came = len(rows["imports"])
    if not came and not gone:
        return 0
    connection.begin()
    try:
        for table, schema in TABLES.items():
            connection.execute(f"DELETE FROM {table} WHERE list_contains(?, source)", [gone])  # noqa: S608 (our own names)
            connection.register("new_rows", pa.Table.from_pylist(rows[table], schema=schema))
            connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM new_rows")  # noqa: S608
            connection.unregister("new_rows")
        connection.execute("UPDATE publication SET version = ?", [version])
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    return came + len(gone)


def _rows(home: Home, new: list[str], problems: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
    for provenance in import_files.read_all(home, new, problems):
        try:
            figures = import_files.reading(home, provenance).figures
            rows = [clean(_figure(provenance, i, one)) for i, one in enumerate(figures)]
            pa.Table.from_pylist(rows, schema=IMPORTED)  # one that no row can hold must not keep out the others
        except (FarmError, ValueError, TypeError, OverflowError) as error:
            problems[provenance.source] = str(error)
            continue
        found["imports"].append(clean(_import(home, provenance)) | {"imported_at": utc(provenance.imported_at)})
        found["imported"] += rows
    return found


def _import(home: Home, one: Provenance) -> dict[str, Any]:
    said = {name: getattr(one, name) for name in IMPORTS.names if name not in ("imported_at", "about_sha256")}
    return said | {"about_sha256": import_files.about_sha256(home, one.source)}


def _figure(provenance: Provenance, position: int, one: Figure) -> dict[str, Any]:
    own = ("source", "position", "extra")
    said = {name: getattr(one, name) for name in IMPORTED.names if name not in own}
    return said | {"source": provenance.source, "position": position, "extra": json_text(dict(one.extra))}
