"""Questions to the published database, read-only and pinned to one version."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import pyarrow as pa

from quantfarm.errors import FarmError, UsageError
from storage.database import open_reader
from storage.home import Home
from storage.ingest import lock_path
from storage.lock import POLL_S, OnWait, holder, is_locked
from storage.publish import Published, current

Params = Sequence[Any] | Mapping[str, Any]


class NoResults(UsageError):
    """Nothing has been published yet."""


class Reader:
    """The version published when it was made; make another to see a newer one.

    `with Reader(home) as reader: reader.query("SELECT …")`. Raises NoResults before the first publication;
    where that is being made right now it is waited for, and FarmError says by whom after `wait_s` seconds.
    """

    def __init__(self, home: Home, *, wait_s: float = 30.0, on_wait: OnWait | None = None) -> None:
        until = time.monotonic() + wait_s
        published = _published(home, until, on_wait)
        while True:
            try:
                self._connection = open_reader(published.path, max(0.0, until - time.monotonic()))
                break
            except FarmError:
                newer = current(home)  # many publications later, the one we saw is gone
                if newer is None or newer == published:
                    raise
                published = newer
        self.version = published.version

    def query(self, sql: str, params: Params | None = None) -> list[dict[str, Any]]:
        """Rows as dicts. Raises duckdb.Error for SQL that is wrong."""
        cursor = self._connection.cursor().execute(sql, params)
        names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def rows(self, sql: str, params: Params | None = None) -> list[tuple[Any, ...]]:
        """The same as tuples, in the order of the columns asked for: cheaper where there are thousands."""
        return self._connection.cursor().execute(sql, params).fetchall()

    def arrow(self, sql: str, params: Params | None = None) -> pa.Table:
        """The same as an Arrow table, for many rows."""
        return self._connection.cursor().execute(sql, params).to_arrow_table()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _published(home: Home, until: float, on_wait: OnWait | None) -> Published:
    lock, told = lock_path(home), False
    while True:
        busy = is_locked(lock)  # asked first: what is published meanwhile is then seen
        if found := current(home):
            return found
        if not busy:
            raise NoResults(f"no results yet in {home.root}: run `quantfarm sweep`")
        if time.monotonic() >= until:
            raise FarmError(f"the first results are being written by {holder(lock)}. Try again when that has ended.")
        if on_wait and not told:
            on_wait(holder(lock))
            told = True
        time.sleep(POLL_S)
