"""Numbered SQL files bring a database of any age to the schema that this program knows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import duckdb

from quantfarm.errors import FarmError

FOLDER = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def known(folder: Path = FOLDER) -> list[Migration]:
    """The migrations in a folder, `0001_name.sql` …, in order."""
    files = sorted(folder.glob("[0-9]*_*.sql"))
    return [Migration(int(f.name.split("_")[0]), f.stem, f.read_text("utf-8")) for f in files]


def migrate(connection: duckdb.DuckDBPyConnection, migrations: list[Migration] | None = None) -> int:
    """Applies what is missing in order, each whole or not at all; the number of migrations applied.

    Each in a transaction of its own: DuckDB alters no table that the same transaction has changed.

    Raises FarmError for a database that is newer than the program, or was made by other migrations.
    """
    migrations = known() if migrations is None else migrations
    applied = _applied(connection)
    _check(migrations, applied)
    missing = [m for m in migrations if m.number not in applied]
    for migration in missing:
        connection.begin()
        try:
            _apply(connection, migration)
        except BaseException:
            connection.rollback()
            raise
        connection.commit()
    return len(missing)


def _applied(connection: duckdb.DuckDBPyConnection) -> dict[int, str]:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name VARCHAR NOT NULL, sha256 VARCHAR)"
    )
    return dict(connection.execute("SELECT number, sha256 FROM migrations").fetchall())


def _apply(connection: duckdb.DuckDBPyConnection, migration: Migration) -> None:
    connection.execute(migration.sql)
    connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", [migration.number, migration.name, migration.sha256])


def _check(migrations: list[Migration], applied: dict[int, str]) -> None:
    newest = max((m.number for m in migrations), default=0)
    if (theirs := max(applied, default=0)) > newest:
        raise FarmError(f"the database has schema {theirs}, this program knows {newest}: upgrade quantfarm")
    for migration in migrations:
        if applied.get(migration.number, migration.sha256) != migration.sha256:
            raise FarmError(f"the database was made by another migration {migration.name}: run `quantfarm db rebuild`")
