"""Formats that results go out in. One file and one line here each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quantfarm import tables
from storage.reading import Reader

TABLE: dict[str, str] = {
    "csv": "storage.exporting.results_csv:export",
    "parquet": "storage.exporting.results_parquet:export",
    "bencher": "storage.exporting.bencher:export",
    "llama-bench": "storage.exporting.llama_bench:export",
}
#: Formats that are no text: not for a terminal.
BINARY = frozenset({"parquet"})


@dataclass(frozen=True, slots=True)
class Asked:
    """Which results; None: all."""

    device: str | None = None
    metric: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """`rows` is how many figures are in it; `left_out` says which are not, and why."""

    data: bytes
    rows: int
    left_out: tuple[str, ...] = ()


Export = Callable[[Reader, Asked], Exported]


def export(reader: Reader, name: str, asked: Asked) -> Exported:
    """What was measured here in a format by name. Raises UsageError for unknown names."""
    write: Export = tables.load(TABLE, name, "format")
    return write(reader, asked)
