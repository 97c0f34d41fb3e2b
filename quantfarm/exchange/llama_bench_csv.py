"""llama-bench -o csv."""

from __future__ import annotations

from quantfarm.exchange.figure import Importer, Reading
from quantfarm.exchange.llama_bench import MARKS, reading
from quantfarm.exchange.reading import csv_table, header_of


def recognises(text: str) -> bool:
    return set(header_of(text)) >= MARKS


def read(text: str) -> Reading:
    """Raises Wrong."""
    return reading(csv_table(text))


IMPORTER = Importer(recognises, read)
