"""How figures go out: a table for people, JSON, CSV or Parquet for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


def print_json(thing: object) -> None:
    """One JSON document on stdout and nothing else."""
    sys.stdout.write(json.dumps(thing, ensure_ascii=False, indent=None, default=str, allow_nan=False) + "\n")


def cell(value: object) -> Text:
    """A value for a table: four significant digits, nothing for None."""
    if value is None:
        return Text("–", style="dim")
    return Text(f"{value:.4g}" if isinstance(value, float) else str(value))


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    console = Console()
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        style = "" if row.get("valid", True) else "red"
        table.add_row(*(cell(row.get(column)) for column in columns), style=style)
    console.print(table)
