"""Where the database, the landed files, their traces and the artifacts disagree."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from quantfarm.errors import FarmError
from storage import compare, device_rows, import_files, import_rows, landing, night_rows, nights, processes, ratings
from storage.artifacts import Artifacts
from storage.database import open_writer
from storage.devices import Registry
from storage.home import Home
from storage.ingest import WAIT_S, ingester, working_path
from storage.journal import Damaged
from storage.landings import Landings
from storage.load import load
from storage.lock import OnWait
from storage.migrate import migrate
from storage.names import parse_stem, trace_path
from storage.publish import current

#: Tables whose rows belong to one landed attempt each.
OF_ATTEMPTS = ("measurements", "samples", "repetitions", "chunks", "texts")


@dataclass(frozen=True, slots=True)
class Disagreement:
    """`kind` is one word for programs; `name` says what it is about, `detail` what is wrong."""

    kind: str
    name: str
    detail: str


def verify(home: Home, *, wait_s: float = WAIT_S, on_wait: OnWait | None = None) -> list[Disagreement]:
    """Reads everything again and compares; empty when all agree. Changes nothing. Raises FarmError when locked out."""
    with ingester(home, wait_s, on_wait):
        return [*_files(home), *_traces(home), *_database(home), *_artifacts(home)]


def _files(home: Home) -> Iterator[Disagreement]:
    landings = Landings(home)
    for _ in landings.all():
        pass
    for name, why in landings.problems.items():
        yield Disagreement("unreadable", name, why)
    yield from _records(home)
    unreadable: dict[str, str] = {}
    nights.reports(home, unreadable)
    for name, why in unreadable.items():
        yield Disagreement("unreadable", name, why)
    try:
        ratings.all_ratings(home)
    except Damaged as error:
        yield Disagreement("unreadable", ratings.path(home).name, str(error))
    yield from _imports(home)


def _imports(home: Home) -> Iterator[Disagreement]:
    problems: dict[str, str] = {}
    for provenance in import_files.read_all(home, import_files.sources(home), problems):
        try:
            import_files.reading(home, provenance)
        except FarmError as error:
            problems[provenance.source] = str(error)
    for name, why in problems.items():
        yield Disagreement("unreadable", name, why)
    for name in import_files.strays(home):
        yield Disagreement("stray_import", name, "an imported file without its provenance: import it again")


def _records(home: Home) -> Iterator[Disagreement]:
    registry = Registry(home)
    for name in registry.names():
        try:
            registry.history(name)
            registry.canaries(name)
        except Damaged as error:
            yield Disagreement("unreadable", name, str(error))


def _traces(home: Home) -> Iterator[Disagreement]:
    for landed in Landings(home).all():
        path, said = trace_path(home, landed.cell.id, landed.attempt), landed.conditions.get("trace")
        if said and not path.exists():
            yield Disagreement("trace_missing", path.name, f"the trace of {landed.cell.label} is gone")
        elif said and landing.describe_trace(path) != said:
            yield Disagreement("trace_changed", path.name, f"the trace of {landed.cell.label} is not as it landed")
    for path in sorted(home.traces.glob("*.jsonl")):
        if parse_stem(path.stem) and not (home.cells / f"{path.stem}.json").exists() and path.stat().st_nlink == 1:
            yield Disagreement("stray_trace", path.name, "a trace without its landed cell")


def _artifacts(home: Home) -> Iterator[Disagreement]:
    for problem in Artifacts(home).verify():
        yield Disagreement("artifact", problem.name, problem.why)


def _database(home: Home) -> Iterator[Disagreement]:
    published, working = current(home), working_path(home)
    if published is None or not working.exists():
        if Landings(home).keys() or import_files.sources(home):
            yield Disagreement("no_database", working.name, "cells have landed, but no database was published")
        return
    with _from_files(home) as files:
        try:
            yield from _rows(files, working)
            for table in compare.differences(working, published.path):
                yield Disagreement("published", published.path.name, f"table {table} is not that of {working.name}")
        except duckdb.Error as error:
            yield Disagreement("database", working.name, str(error).splitlines()[0])


@contextlib.contextmanager
def _from_files(home: Home) -> Iterator[Path]:
    """A database made from the files as they are now; gone afterwards."""
    folder = home.folder("db", f".verify-{processes.mark()}")
    try:
        path = folder / "files.duckdb"
        with contextlib.closing(open_writer(path)) as connection:
            migrate(connection)
            load(connection, home, Landings(home).keys(), 0)
            device_rows.load(connection, home, 0, {})
            night_rows.load(connection, home, 0, {})
            ratings.load(connection, home, 0, {})
            import_rows.load(connection, home, 0, {})
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rows(files: Path, database: Path) -> Iterator[Disagreement]:
    """`a` is what the files say, `b` what the database says."""
    with contextlib.closing(compare.attached(files, database)) as connection:
        wanted, there = compare.tables(connection, "a"), compare.tables(connection, "b")
        if wanted != there:
            yield Disagreement("schema", database.name, "made by another version of this program: run a rebuild")
            return
        yield from _unmatched(connection)
        yield from _changed_cells(connection, [column for column, _ in wanted["cells"]])
        for table in OF_ATTEMPTS:
            yield from _changed(connection, table)
        for table in device_rows.TABLES:
            yield from _unlike_records(connection, table)
        for table in night_rows.TABLES:
            yield from _unlike_nights(connection, table)
        if n := len(connection.execute(f"SELECT 1 FROM {compare.unlike_rows('ratings')}").fetchall()):  # noqa: S608
            yield Disagreement("ratings", "ratings.jsonl", f"{n} rows are not what the journal says")
        for table in import_rows.TABLES:
            yield from _unlike_imports(connection, table)


def _unmatched(connection: duckdb.DuckDBPyConnection) -> Iterator[Disagreement]:
    for kind, here, other, why in (
        ("missing_row", "a", "b", "landed, but not in the database"),
        ("extra_row", "b", "a", "in the database, but no landed file says so"),
    ):
        rows = connection.execute(
            f"SELECT cell, attempt FROM {here}.cells ANTI JOIN {other}.cells USING (cell, attempt) ORDER BY ALL"  # noqa: S608
        )
        for cell, attempt in rows.fetchall():
            yield Disagreement(kind, f"{cell}.{attempt}", why)


def _changed_cells(connection: duckdb.DuckDBPyConnection, columns: list[str]) -> Iterator[Disagreement]:
    unlike = ", ".join(f"CASE WHEN x.{c} IS DISTINCT FROM y.{c} THEN '{c}' END" for c in columns)
    rows = connection.execute(
        f"SELECT cell, attempt, list_filter([{unlike}], lambda c: c IS NOT NULL) AS changed"  # noqa: S608
        " FROM a.cells AS x JOIN b.cells AS y USING (cell, attempt) WHERE len(changed) > 0 ORDER BY ALL"
    )
    for cell, attempt, changed in rows.fetchall():
        what = "its file has changed since it was loaded" if "file_sha256" in changed else "its row has changed"
        yield Disagreement("changed_row", f"{cell}.{attempt}", f"{what}: {', '.join(changed)}")


def _changed(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[Disagreement]:
    """Attempts that both have, with other rows in a table."""
    rows = connection.execute(
        f"SELECT cell, attempt, count(*) FROM {compare.unlike_rows(table)}"  # noqa: S608
        " SEMI JOIN (FROM a.cells SEMI JOIN b.cells USING (cell, attempt)) USING (cell, attempt)"
        " GROUP BY ALL ORDER BY ALL"
    )
    for cell, attempt, n in rows.fetchall():
        yield Disagreement("changed_row", f"{cell}.{attempt}", f"{n} rows of {table} are not what its files say")


def _unlike_records(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[Disagreement]:
    """Devices whose record is not what the database has of it."""
    rows = connection.execute(f"SELECT device, count(*) FROM {compare.unlike_rows(table)} GROUP BY ALL ORDER BY ALL")  # noqa: S608
    for device, n in rows.fetchall():
        yield Disagreement("device_record", device, f"{n} rows of {table} are not what its record says")


def _unlike_nights(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[Disagreement]:
    """Nights whose report is not what the database has of it."""
    rows = connection.execute(f"SELECT night, count(*) FROM {compare.unlike_rows(table)} GROUP BY ALL ORDER BY ALL")  # noqa: S608
    for night, n in rows.fetchall():
        yield Disagreement("night_report", night, f"{n} rows of {table} are not what its report says")


def _unlike_imports(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[Disagreement]:
    """Imports whose files are not what the database has of them."""
    rows = connection.execute(f"SELECT source, count(*) FROM {compare.unlike_rows(table)} GROUP BY ALL ORDER BY ALL")  # noqa: S608
    for source, n in rows.fetchall():
        yield Disagreement("import", source, f"{n} rows of {table} are not what its file says")
