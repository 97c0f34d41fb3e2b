"""A database of any age is brought to this program's schema; one of a later age is refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import duckdb
import pytest

from quantfarm.errors import FarmError
from storage.compare import equal
from storage.database import open_writer
from storage.home import Home
from storage.ingest import ingest, rebuild, working_path
from storage.migrate import Migration, known, migrate
from storage.reading import Reader
from tests.storing import QUALITY, cell, landed, put

FIRST = Migration(1, "0001_first", "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (1);")
SECOND = Migration(2, "0002_second", "ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 5;")
BROKEN = Migration(3, "0003_broken", "CREATE TABLE b (x INTEGER); SELECT * FROM nowhere;")


@pytest.fixture
def connection(tmp_path: Path):
    with contextlib.closing(open_writer(tmp_path / "a.duckdb")) as connection:
        yield connection


def test_what_is_missing_is_applied_in_order_and_only_once(connection: duckdb.DuckDBPyConnection) -> None:
    assert migrate(connection, [FIRST]) == 1
    assert migrate(connection, [FIRST, SECOND]) == 1
    assert migrate(connection, [FIRST, SECOND]) == 0
    assert connection.execute("FROM a").fetchall() == [(1, 5)]
    assert connection.execute("SELECT number, name FROM migrations ORDER BY 1").fetchall() == [
        (1, "0001_first"),
        (2, "0002_second"),
    ]


def test_a_migration_that_fails_leaves_what_the_one_before_it_made(connection: duckdb.DuckDBPyConnection) -> None:
    migrate(connection, [FIRST])
    with pytest.raises(duckdb.Error):
        migrate(connection, [FIRST, SECOND, BROKEN])
    assert connection.execute("FROM a").fetchall() == [(1, 5)]
    assert migrate(connection, [FIRST, SECOND]) == 0


def test_a_newer_database_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    migrate(connection, [FIRST, SECOND])
    with pytest.raises(FarmError, match="the database has schema 2, this program knows 1: upgrade quantfarm"):
        migrate(connection, [FIRST])


def test_a_database_made_by_other_migrations_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    migrate(connection, [FIRST])
    other = Migration(1, "0001_first", "CREATE TABLE c (x INTEGER);")
    with pytest.raises(FarmError, match="another migration 0001_first: run `quantfarm db rebuild`"):
        migrate(connection, [other])


def test_the_projects_migrations_are_numbered_without_a_gap() -> None:
    assert [m.number for m in known()] == list(range(1, len(known()) + 1))


def test_every_column_says_what_it_is(connection: duckdb.DuckDBPyConnection) -> None:
    migrate(connection)
    silent = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns()"
        " WHERE NOT internal AND comment IS NULL AND table_name <> 'migrations'"
    ).fetchall()
    assert silent == []


@pytest.mark.parametrize("age", range(len(known()) + 1))
def test_an_older_database_is_migrated_filled_and_published(home: Path, age: int) -> None:
    farm = Home(home)
    put(farm, landed(cell(workload=QUALITY), figures={"ppl": 12.5}))
    _ = farm.db
    with contextlib.closing(open_writer(working_path(farm))) as connection:
        migrate(connection, known()[:age])
    ingest(farm)
    with Reader(farm) as reader:
        assert reader.query("SELECT count(*) AS n FROM chunks") == [{"n": 2}]


def test_a_newer_database_is_refused_by_the_ingester_and_left_alone(home: Path) -> None:
    farm = Home(home)
    put(farm, landed(cell()))
    version = ingest(farm)
    with contextlib.closing(open_writer(working_path(farm))) as connection:
        connection.execute("INSERT INTO migrations VALUES (99, '0099_future', 'x')")
    put(farm, landed(cell(1)))
    with pytest.raises(FarmError, match="the database has schema 99"):
        ingest(farm)
    with Reader(farm) as reader:
        assert reader.version == version
    assert rebuild(farm) == version + 1  # from the files, in this program's schema


def test_a_rebuild_of_a_migrated_database_is_equal_to_it(home: Path) -> None:
    farm = Home(home)
    put(farm, landed(cell()))
    ingest(farm)
    before = working_path(farm).read_bytes()
    old = farm.db / "before.duckdb"
    old.write_bytes(before)
    rebuild(farm)
    assert equal(old, working_path(farm))
