"""The one ingester: whoever holds the lock carries landed files into the database and publishes it.

A kill at any moment is harmless: batches are transactions, what is loaded is known from the database
itself, and a version counts from the moment that CURRENT names it.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb

from quantfarm.errors import FarmError
from storage import atomic, device_rows, import_files, import_rows, landing, night_rows, ratings
from storage.database import open_writer
from storage.home import Home
from storage.landings import Landings
from storage.load import Loaded, load, loaded_keys
from storage.lock import OnWait, locked
from storage.migrate import migrate
from storage.publish import current, publish

WAIT_S = 600.0
log = logging.getLogger("quantfarm.storage")


def lock_path(home: Home) -> Path:
    return home.root / "db" / "ingest.lock"


def working_path(home: Home) -> Path:
    """The database that the ingester alone opens; readers have the published copies."""
    return home.root / "db" / "working.duckdb"


def ingester(home: Home, wait_s: float, on_wait: OnWait | None) -> AbstractContextManager[None]:
    """Holds the lock: the database is ours alone meanwhile."""
    return locked(home.db / lock_path(home).name, wait_s=wait_s, on_wait=on_wait)


def ingest(home: Home, *, wait_s: float = WAIT_S, on_wait: OnWait | None = None) -> int:
    """Loads what has landed since and publishes it; the version published, the old one when nothing is new.

    `on_wait` is told once who holds the lock while this waits. Raises FarmError when they still hold it after
    `wait_s` seconds, when there is no room, and when the database cannot be used (the files are safe).
    A landed file that cannot be read is logged, left where it is, and tried again next time.
    """
    with ingester(home, wait_s, on_wait), _told(home):
        _tidy(home)
        return _publish(home, _fill(home, working_path(home), wait_s))


def rebuild(home: Home, *, wait_s: float = WAIT_S, on_wait: OnWait | None = None) -> int:
    """Makes the database anew from the landed files, and publishes it. Raises as ingest does."""
    with ingester(home, wait_s, on_wait), _told(home):
        _tidy(home)
        new = home.db / "rebuilding.duckdb"
        _remove(new)
        content = _fill(home, new, wait_s)
        _swap(new, working_path(home))
        return _publish(home, max(content, _published(home) + 1))


def _fill(home: Home, path: Path, wait_s: float) -> int:
    """Loads what is missing into a database file and closes it; the version that its content is to have."""
    with contextlib.closing(open_writer(path, wait_s)) as connection:
        changed = migrate(connection) > 0
        missing = Landings(home).keys() - loaded_keys(connection)
        following = _published(home) + 1
        done = load(connection, home, missing, following)
        rows = device_rows.load(connection, home, following, done.problems)
        rows += night_rows.load(connection, home, following, done.problems)
        rows += ratings.load(connection, home, following, done.problems)
        rows += import_rows.load(connection, home, following, done.problems)
        _report(done)
        if changed and not done.cells and not rows:
            connection.execute("UPDATE publication SET version = ?", [following])
        connection.execute("CHECKPOINT")
        row = connection.execute("SELECT max(version) FROM publication").fetchone()
    return row[0] if row else 0


def _report(done: Loaded) -> None:
    for name, why in done.problems.items():
        log.warning("cannot load %s: %s", name, why)


def _publish(home: Home, version: int) -> int:
    """Publishes unless this content is out already; the version that readers now see."""
    now = current(home)
    if now is None or version > now.version or not now.path.exists():
        publish(home, working_path(home), version)
        return version
    return now.version


def _published(home: Home) -> int:
    now = current(home)
    return now.version if now else 0


def _swap(new: Path, working: Path) -> None:
    """The old log goes first: replayed into another database it would be poison, without it files are loaded again."""
    with contextlib.suppress(FileNotFoundError):
        working.with_name(working.name + ".wal").unlink()
    atomic.replace(new, working)


def _remove(database: Path) -> None:
    for path in (database.with_name(database.name + ".wal"), database):
        path.unlink(missing_ok=True)


def _tidy(home: Home) -> None:
    """What killed processes left behind."""
    landing.sweep_up(home)
    for folder in (home.cells, home.recipes, home.db, import_files.folder(home), *home.artifacts.iterdir()):
        atomic.sweep_up(folder)
    for left in (*home.db.glob(".cleaned-*"), *home.db.glob(".verify-*")):  # ours alone while we hold the lock
        shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _told(home: Home) -> Iterator[None]:
    """Failures of the database in the user's words."""
    try:
        with atomic.room_in(home.db):
            yield
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise FarmError(
            f"the database in {home.db} could not be written: {reason}. The results are safe in {home.cells}"
        ) from error
