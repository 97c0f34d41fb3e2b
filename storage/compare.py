"""Two databases compared by what their tables hold: as bags of rows, whatever the order."""

from __future__ import annotations

import contextlib
from pathlib import Path

import duckdb

from storage.database import SETTINGS, quoted

#: Tables about the file itself, not about what was measured.
OWN = ("migrations", "publication")


def equal(a: Path, b: Path) -> bool:
    """Whether two databases hold the same rows in the same tables."""
    return not differences(a, b)


def differences(a: Path, b: Path) -> list[str]:
    """The names of tables that are not the same. Raises duckdb.Error for a file that is no database."""
    with contextlib.closing(attached(a, b)) as connection:
        return different_tables(connection)


def attached(a: Path, b: Path) -> duckdb.DuckDBPyConnection:
    """A connection that sees two databases as `a` and `b`, read-only."""
    connection = duckdb.connect(config=SETTINGS)
    try:
        for name, path in (("a", a), ("b", b)):
            connection.execute(f"ATTACH {quoted(str(path))} AS {name} (READ_ONLY)")
    except duckdb.Error:
        connection.close()
        raise
    return connection


def different_tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    left, right = tables(connection, "a"), tables(connection, "b")
    unlike = {name for name in left.keys() | right.keys() if left.get(name) != right.get(name)}
    return sorted(unlike | {name for name in left.keys() - unlike if _count(connection, name)})


def tables(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, list[tuple[str, str]]]:
    """Table -> its columns' names and types. Views are not among them: they hold nothing of their own."""
    rows = connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns()"
        " SEMI JOIN duckdb_tables() USING (database_name, table_oid)"
        " WHERE database_name = ? AND NOT internal ORDER BY table_name, column_index",
        [database],
    ).fetchall()
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in rows:
        if table not in OWN:
            found.setdefault(table, []).append((column, kind))
    return found


def unlike_rows(table: str) -> str:
    """SQL for the rows that only one of `a` and `b` has, as often as it has them."""
    return f"((FROM a.{table} EXCEPT ALL FROM b.{table}) UNION ALL (FROM b.{table} EXCEPT ALL FROM a.{table}))"


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {unlike_rows(table)}").fetchone()  # noqa: S608 (our own names)
    return row[0] if row else 0
