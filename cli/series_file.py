"""Reads a file of series: CSV or JSON lines with run or time, series, value; whatever else there is, are attributes."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quantfarm.errors import UsageError
from quantfarm.statistics.series import Night

#: (line, column -> what stands there)
Row = tuple[int, Mapping[str, Any]]
ORDER = ("time", "run")


def read(path: Path) -> dict[str, list[Night]]:
    """series -> its nights in the file's order. Raises UsageError that names the line for whatever is wrong."""
    rows = _rows(path)
    nights: dict[str, list[Night]] = {}
    lines: dict[str, list[int]] = {}
    for line, row in rows:
        name = _text(path, line, row, "series")
        nights.setdefault(name, []).append(_night(path, line, row))
        lines.setdefault(name, []).append(line)
    if not nights:
        raise UsageError(f"{path} has no values: one line for each run is wanted")
    by_time = {line: str(row["time"]).strip() for line, row in rows if row.get("time") not in (None, "")}
    for name, series in nights.items():
        _check_order(path, name, series, lines[name], by_time)
    return nights


def _rows(path: Path) -> list[Row]:
    readers: dict[str, Callable[[Path], Iterator[Row]]] = {
        ".csv": _csv_rows,
        ".jsonl": _json_rows,
        ".ndjson": _json_rows,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path} is of no kind that can be read: {', '.join(readers)} are known")
    try:
        return list(reader(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8: {error.reason} at byte {error.start}") from error


def _csv_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(lines, [])]
            _check_header(path, header)
            for fields in lines:
                if not fields:
                    continue
                if len(fields) != len(header):
                    raise _wrong(path, lines.line_num, f"{len(fields)} fields, but the header has {len(header)}")
                yield lines.line_num, dict(zip(header, fields, strict=True))
        except csv.Error as error:
            raise _wrong(path, lines.line_num, f"no CSV: {error}") from error


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not header:
        raise UsageError(f"{path} is empty: a header with run or time, series and value is wanted")
    missing = [name for name in ("series", "value") if name not in header]
    if not set(ORDER) & set(header):
        missing.insert(0, "run (or time)")
    if missing:
        raise _wrong(
            path,
            1,
            f"no column {' and no '.join(missing)}. There are: {', '.join(header)}. One line for each value is wanted, "
            "with run or time, series and value",
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise _wrong(path, 1, f"the column {', '.join(twice)} stands there twice")


def _json_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise _wrong(path, line, f"no JSON: {error}") from error
            if not isinstance(row, dict):
                raise _wrong(path, line, 'no JSON object: {"run": …, "series": …, "value": …} is wanted')
            nested = row.pop("attributes", None)
            if nested is not None and not isinstance(nested, dict):
                raise _wrong(path, line, "attributes is no JSON object of names and values")
            yield line, {**(nested or {}), **row}


def _night(path: Path, line: int, row: Mapping[str, Any]) -> Night:
    named = [name for name in reversed(ORDER) if row.get(name) not in (None, "")]
    if not named:
        raise _wrong(path, line, "neither run nor time is given")
    known = {"series", "value", *ORDER}
    return Night(
        run=_text(path, line, row, named[0]),
        value=_value(path, line, row),
        attributes={str(k): _text(path, line, row, k, empty=True) for k in row if k not in known},
    )


def _value(path: Path, line: int, row: Mapping[str, Any]) -> float:
    given = row.get("value")
    if given is None or (isinstance(given, str) and not given.strip()):
        raise _wrong(path, line, "no value: leave out the line of a run without data")
    try:
        if isinstance(given, str) and "_" in given:  # Python takes 1_000 for a number
            raise ValueError(given)
        if isinstance(given, bool) or not isinstance(given, (int, float, str)):
            raise ValueError(given)
        value = float(given)
    except (ValueError, OverflowError) as error:
        raise _wrong(path, line, f"the value '{str(given)[:40]}' is no number") from error
    if not math.isfinite(value):
        raise _wrong(path, line, f"the value '{str(given)[:40]}' is not finite: leave out the line of a failed run")
    return value


def _text(path: Path, line: int, row: Mapping[str, Any], column: str, *, empty: bool = False) -> str:
    """A name, date or attribute as text; a JSON number or truth as it is written."""
    given = row.get(column)
    if isinstance(given, (list, dict)):
        raise _wrong(path, line, f"{column} is no text or number, but {json.dumps(given)[:40]}")
    text = given.strip() if isinstance(given, str) else "" if given is None else json.dumps(given)
    if not text and not empty:
        raise _wrong(path, line, f"no {column}")
    return text


def _check_order(
    path: Path, name: str, series: Sequence[Night], lines: Sequence[int], by_time: Mapping[int, str]
) -> None:
    """Each run once, none after a later one, where that can be told from its name."""
    seen: dict[str, int] = {}
    for night, line in zip(series, lines, strict=True):
        if night.run in seen:
            said = f"the run '{night.run}' of series '{name}' is there twice (line {seen[night.run]})"
            raise _wrong(path, line, f"{said}: one value for each run is wanted, as the median of its launches")
        seen[night.run] = line
    names = [by_time.get(line, night.run) for night, line in zip(series, lines, strict=True)]
    order = _comparable(names)
    for i in range(1, len(order)):
        if order[i] < order[i - 1]:
            said = f"'{names[i]}' of series '{name}' comes after '{names[i - 1]}'"
            raise _wrong(path, lines[i], f"{said}: the earliest must come first")


def _comparable(names: Sequence[str]) -> list[float]:
    """Numbers as they are, ISO 8601 dates as seconds; empty when the names are neither, as commits are not."""
    for reading in (float, _seconds):
        try:
            found = [reading(name) for name in names]
        except (ValueError, OverflowError):
            continue
        if all(map(math.isfinite, found)):
            return found
    return []


def _seconds(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _wrong(path: Path, line: int, what: str) -> UsageError:
    return UsageError(f"{path}, line {line}: {what}")
