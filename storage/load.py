"""Carries landed files into an open database, in batches that are loaded whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import duckdb

from storage import traces
from storage.home import Home
from storage.names import cell_path, trace_path
from storage.rows import File, Rows, rows_of

Key = tuple[str, int]  # (cell id, attempt)

#: Cells in one transaction: enough to be fast, few enough that a kill costs little.
BATCH = 256

CURRENT = """
UPDATE cells SET current = (cells.attempt = best.attempt)
FROM (
    SELECT cell, coalesce(max(attempt) FILTER (state = 'ok'), max(attempt)) AS attempt
    FROM cells WHERE cell IN (SELECT cell FROM landed_cells) GROUP BY cell
) AS best
WHERE cells.cell = best.cell AND cells.current <> (cells.attempt = best.attempt)
"""


@dataclass(slots=True)
class Loaded:
    """What came of a load. `problems`: file name -> why it could not be used."""

    cells: int = 0
    problems: dict[str, str] = field(default_factory=dict)


def loaded_keys(connection: duckdb.DuckDBPyConnection) -> set[Key]:
    return set(connection.execute("SELECT cell, attempt FROM cells").fetchall())


def load(connection: duckdb.DuckDBPyConnection, home: Home, keys: Iterable[Key], version: int) -> Loaded:
    """Loads landed cells and their traces; each batch also marks the content as that of `version`."""
    done = Loaded()
    for batch in _batches(sorted(keys)):
        files = _read(home, batch, done)
        if files:
            _load_batch(connection, home, files, version)
            done.cells += len(files)
    return done


def _batches(keys: list[Key]) -> Iterator[list[Key]]:
    rest = iter(keys)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _read(home: Home, keys: list[Key], done: Loaded) -> list[File]:
    files: list[File] = []
    for key in keys:
        path = cell_path(home, *key)
        try:
            file = File.read(path)
            rows_of([file])
            files.append(file)
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            done.problems[path.name] = f"{type(error).__name__}: {error}"
    return files


def _load_batch(connection: duckdb.DuckDBPyConnection, home: Home, files: list[File], version: int) -> None:
    raw = [traces.Raw.of(file.landed, trace_path(home, file.landed.cell.id, file.landed.attempt)) for file in files]
    raw = [trace for trace in raw if trace.path.exists()]
    with tempfile.TemporaryDirectory(dir=home.db, prefix=".cleaned-") as folder:
        try:
            usual = [trace if trace.parsed else trace.cleaned(Path(folder)) for trace in raw]
            _transaction(connection, files, usual, version)
        except duckdb.InvalidInputException:  # a key given twice: it ends the reading of all files
            _transaction(connection, files, [trace.cleaned(Path(folder)) for trace in raw], version)


def _transaction(
    connection: duckdb.DuckDBPyConnection, files: list[File], found: list[traces.Raw], version: int
) -> None:
    connection.begin()
    try:
        _insert(connection, rows_of(files))
        traces.load(connection, found)
        connection.execute("UPDATE publication SET version = ?", [version])
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _insert(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    connection.register("landed_cells", rows.cells)
    connection.register("landed_measurements", rows.measurements)
    connection.execute("INSERT INTO cells BY NAME SELECT * FROM landed_cells")
    connection.execute("INSERT INTO measurements BY NAME SELECT * FROM landed_measurements")
    connection.execute(CURRENT)
    connection.unregister("landed_cells")
    connection.unregister("landed_measurements")
