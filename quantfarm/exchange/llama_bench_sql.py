"""llama-bench -o sql: INSERT statements, one a line. Read as text: nothing of it is carried out."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from quantfarm.exchange.figure import Importer, Reading, Wrong
from quantfarm.exchange.llama_bench import reading
from quantfarm.exchange.reading import CUT, Row

INSERT = re.compile(r"\s*INSERT INTO llama_bench \((?P<names>[^)]*)\) VALUES \((?P<values>.*)\);\s*")
BEGINS = "INSERT INTO"


def recognises(text: str) -> bool:
    return "INSERT INTO llama_bench " in text or "CREATE TABLE IF NOT EXISTS llama_bench " in text


def read(text: str) -> Reading:
    """Raises Wrong."""
    return reading(_rows(text))


def _rows(text: str) -> Iterator[Row]:
    last = len(text.rstrip().split("\n"))
    for line, statement in enumerate(text.split("\n"), 1):
        if not statement.lstrip().startswith(BEGINS):
            continue
        found = INSERT.fullmatch(statement.rstrip("\r"))
        if not found:
            raise Wrong(line, CUT if line == last else "no INSERT INTO llama_bench (…) VALUES (…); that can be read")
        names, values = [name.strip() for name in found["names"].split(",")], _values(line, found["values"])
        if len(names) != len(values):
            raise Wrong(line, f"{len(values)} values for {len(names)} names")
        yield line, dict(zip(names, values, strict=True))


def _values(line: int, text: str) -> list[str]:
    """SQL's quoting of texts is CSV's, with another mark."""
    try:
        return next(csv.reader([text], quotechar="'", skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise Wrong(line, f"values that cannot be read: {error}") from error


IMPORTER = Importer(recognises, read)
