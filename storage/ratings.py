"""The journal of ratings: a line for each mark, written through before the next answer is shown.

HOME/ratings/ratings.jsonl   only ever added to
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from quantfarm import ratings as judged
from quantfarm.chat.pairs import SET as CHAT
from quantfarm.errors import UsageError
from quantfarm.ratings import Rating, Written
from storage import journal
from storage.home import Home
from storage.rows import clean, utc

NAMES = tuple(field.name for field in fields(Rating))
SCHEMA = pa.schema(
    [
        ("number", pa.int32()),
        *((name, pa.string()) for name in NAMES if name not in ("mark", "rated_at")),
        ("mark", pa.int32()),
        ("rated_at", pa.timestamp("us")),
    ]
)


def path(home: Home) -> Path:
    """Not made by a look."""
    return home.root / "ratings" / "ratings.jsonl"


def add(home: Home, rater: str, prompt_set: str, written: Written, mark: int) -> list[Rating]:
    """A mark for every variant that wrote the text, on the disk when this returns. Raises NoRoom."""
    prompt, text = written.key
    now = datetime.now(UTC).isoformat(timespec="seconds")
    rows = [
        Rating(
            rater=rater,
            rated_at=now,
            prompt_set=prompt_set,
            prompt_sha256=prompt,
            answer_sha256=text,
            mark=mark,
            model=answer.writer.model,
            variant=answer.writer.variant,
            artifact=answer.writer.artifact,
            device=answer.writer.device,
            runtime=answer.writer.runtime,
            build=answer.writer.build,
        )
        for answer in written.answers
    ]
    file = home.folder("ratings") / path(home).name
    with journal.locked(file.with_suffix(".lock")):
        for row in rows:
            journal.append(file, asdict(row))
    return rows


def all_ratings(home: Home) -> list[Rating]:
    """Every mark in order, also those that a later one replaced. Raises Damaged naming the line that is none."""
    found: list[Rating] = []
    for number, row in enumerate(journal.read(path(home)), 1):
        try:
            found.append(Rating(**row))
        except TypeError as error:
            raise journal.Damaged(f"line {number} of {path(home)} is no rating: {error}. Mend or remove it.") from error
    return found


def load(connection: duckdb.DuckDBPyConnection, home: Home, version: int, problems: dict[str, str]) -> int:
    """Adds the marks that are not there yet, marked as content of `version`; how many. One transaction."""
    try:
        found = all_ratings(home)
    except journal.Damaged as error:
        problems[path(home).name] = str(error)
        return 0
    known = connection.execute("SELECT coalesce(max(number), 0) FROM ratings").fetchone()
    first = known[0] if known else 0
    rows = [_row(number, one) for number, one in enumerate(found, 1) if number > first]
    if not rows:
        return 0
    connection.begin()
    try:
        connection.register("new_rows", pa.Table.from_pylist(rows, schema=SCHEMA))
        connection.execute("INSERT INTO ratings BY NAME SELECT * FROM new_rows")
        connection.unregister("new_rows")
        connection.execute("UPDATE publication SET version = ?", [version])
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    return len(rows)


def _row(number: int, one: Rating) -> dict[str, Any]:
    return clean({**asdict(one), "number": number}) | {"rated_at": utc(one.rated_at)}


def done(home: Home, rater: str, those: Sequence[Written]) -> set[tuple[str, str]]:
    """The texts that a rater has judged already, for every variant that wrote them."""
    marked = {(one.prompt_sha256, one.answer_sha256, one.model, one.variant) for one in _of(home, rater)}
    return {
        one.key
        for one in those
        if all((*one.key, answer.writer.model, answer.writer.variant) in marked for answer in one.answers)
    }


def carried(home: Home, rater: str, prompt_set: str, those: Sequence[Written]) -> int:
    """A text that was judged when another variant wrote it is not asked about again: its mark counts for this one too.

    How many texts that were.
    """
    marks = {(one.prompt_sha256, one.answer_sha256): one.mark for one in _of(home, rater)}
    known, count = done(home, rater, those), 0
    for one in those:
        if one.key in marks and one.key not in known:
            add(home, rater, prompt_set, one, marks[one.key])
            count += 1
    return count


def _of(home: Home, rater: str) -> list[Rating]:
    return [one for one in all_ratings(home) if one.rater == rater]


def add_pair(home: Home, rater: str, shown: Sequence[Written], marks: Sequence[int]) -> list[Rating]:
    """The marks of a pair of chat answers (`quantfarm.chat.pairs.blind`), one for each text that was shown: all or
    none. Raises UsageError, NoRoom."""
    if not rater.strip():
        raise UsageError("marks are somebody's: say your name")
    if len(marks) != len(shown) or not all(judged.LOWEST <= mark <= judged.HIGHEST for mark in marks):
        raise UsageError(f"each of the {len(shown)} texts gets a mark from {judged.LOWEST} to {judged.HIGHEST}")
    pairs = zip(shown, marks, strict=True)
    return [row for one, mark in pairs for row in add(home, rater.strip(), CHAT, one, mark)]
