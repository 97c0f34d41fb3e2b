"""Reading rows out of text so that each knows its line: JSON, JSON lines, CSV; and values out of rows."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from quantfarm.exchange.figure import Wrong

#: (line, field -> what stands there)
Row = tuple[int, Mapping[str, Any]]
SPACE = re.compile(r"\s*")
CUT = "the file is cut off"
#: Counts from here on are no counts: a double does not tell them apart.
MOST = 2**53


def line_at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def line_of(text: str, key: str, after: int = 1) -> int:
    """The first line from `after` on that holds `"key"`; `after` where none does."""
    for number, line in enumerate(text.split("\n")[after - 1 :], after):
        if f'"{key}"' in line:
            return number
    return after


def json_value(text: str, position: int = 0) -> tuple[Any, int]:
    """The value that begins at a position, and where it ends. Raises Wrong."""
    try:
        return json.JSONDecoder().raw_decode(text, position)
    except json.JSONDecodeError as error:
        ended = not text[error.pos :].strip() or error.msg.startswith("Unterminated")
        raise Wrong(error.lineno, CUT if ended else f"no JSON: {error.msg}") from error
    except RecursionError as error:
        raise Wrong(line_at(text, position), "no JSON that can be read: nested too deeply") from error


def json_object(text: str) -> Mapping[str, Any]:
    """A file that is one JSON object. Raises Wrong."""
    value, end = json_value(text, _skip(text, 0))
    if not isinstance(value, dict):
        raise Wrong(1, "no JSON object")
    if rest := text[end:].strip():
        raise Wrong(line_at(text, text.index(rest, end)), f"more after the end of the JSON object: {rest[:40]!r}")
    return cast("Mapping[str, Any]", value)


def json_list(text: str) -> Iterator[Row]:
    """The objects of a JSON list, each with the line that it begins on. Raises Wrong."""
    position = _skip(text, _skip(text, 0) + 1)  # behind the bracket
    if text[position : position + 1] == "]":
        return
    while True:
        line = line_at(text, position)
        value, position = json_value(text, position)
        yield line, _object(line, value)
        position = _skip(text, position)
        mark = text[position : position + 1]
        if mark == "]":
            break
        if mark != ",":
            raise Wrong(line_at(text, position), CUT if not mark else f"no JSON: a comma is wanted, not {mark!r}")
        position = _skip(text, position + 1)


def json_lines(text: str) -> Iterator[Row]:
    """Raises Wrong."""
    for line, row in enumerate(text.split("\n"), 1):
        if row.strip():
            try:
                yield line, _object(line, json_object(row))
            except Wrong as error:
                raise Wrong(line, error.what) from error


def csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Rows as they are, empty lines left out. Raises Wrong."""
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in lines:
            if fields:
                yield lines.line_num, fields
    except csv.Error as error:
        cut = "unexpected end of data" in str(error)
        raise Wrong(max(1, lines.line_num), CUT if cut else f"no CSV: {error}") from error


def csv_table(text: str) -> Iterator[Row]:
    """Rows by the names in the first one. Raises Wrong."""
    header: list[str] = []
    for line, fields in csv_rows(text):
        if not header:
            header = fields
            continue
        if len(fields) != len(header):
            raise Wrong(line, f"{len(fields)} fields, but the header has {len(header)}")
        yield line, dict(zip(header, fields, strict=True))


def header_of(text: str) -> list[str]:
    """The fields of a CSV's first line; none where it cannot be read."""
    try:
        return next(csv.reader([text.split("\n", 1)[0].rstrip("\r")]))
    except (csv.Error, StopIteration):
        return []


def number(row: Mapping[str, Any], field: str, line: int) -> float:
    """A finite number, also one written as text. Raises Wrong."""
    given = row.get(field)
    if given is None or given == "":
        raise Wrong(line, f"no {field}")
    try:
        if isinstance(given, bool) or not isinstance(given, int | float | str) or "_" in str(given):
            raise ValueError(given)
        value = float(given)
    except (ValueError, OverflowError) as error:
        raise Wrong(line, f"{field} is {str(given)[:40]!r}, which is no number") from error
    if not math.isfinite(value):
        raise Wrong(line, f"{field} is {str(given)[:40]!r}, which is not finite")
    return value


def whole(row: Mapping[str, Any], field: str, line: int) -> int:
    """A whole number from 0 to MOST. Raises Wrong."""
    value = number(row, field, line)
    if not 0 <= value < MOST or not value.is_integer():
        raise Wrong(line, f"{field} is {row[field]!r}, which is no count")
    return int(value)


def text_of(row: Mapping[str, Any], field: str) -> str:
    given = row.get(field)
    return "" if given is None else str(given).strip()


def mapping(thing: Any) -> Mapping[str, Any]:
    """A JSON object as it is; empty for anything else."""
    return cast("Mapping[str, Any]", thing) if isinstance(thing, dict) else {}


def _object(line: int, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Wrong(line, f"no JSON object, but {str(value)[:40]!r}")
    return cast("Mapping[str, Any]", value)


def _skip(text: str, position: int) -> int:
    found = SPACE.match(text, position)
    return found.end() if found else position
