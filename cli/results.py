"""quantfarm results: every figure with its interval, as a table, JSON, CSV or Parquet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer

from cli.output import Format, print_json, print_rows
from quantfarm.errors import UsageError, unknown
from storage import atomic, imports, table_files
from storage import results as stored
from storage.home import Home
from storage.reading import Reader

COLUMNS = ("device", "model", "variant", "workload", "metric", "value", "unit", "low", "high", "n", "reason")
#: Of imported figures: with where they come from.
IMPORTED = (*COLUMNS[:7], "spread", "n", "tool", "file", "source")

Rows = list[dict[str, Any]]


def results(
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    metric: Annotated[str | None, typer.Option(help="Only this metric, e.g. bench_tg.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of stdout.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    imported: Annotated[bool, typer.Option(help="What was imported, in place of what was measured here.")] = False,
) -> None:
    """Print what was measured: one row per figure, the median over launches with its interval."""
    with Reader(Home.default()) as reader:
        if imported:
            rows, schema = _imported(reader, device, metric, model), imports.COLUMNS
        else:
            rows, schema = stored.results(reader, device=device, metric=metric, model=model), stored.COLUMNS
    form = Format.JSON if as_json else form
    if out:
        _write(rows, schema, form, out)
    elif form is Format.TABLE:
        if imported:
            typer.echo("Imported: what other tools said, not measured here.")
        print_rows(*_table(rows, imported))
    elif form is Format.JSON:
        print_json(rows)
    elif form is Format.CSV:
        sys.stdout.write(table_files.to_csv(rows, schema))
    else:
        raise UsageError("Parquet is no text: give a file with --out results.parquet")


def _table(rows: Rows, imported: bool) -> tuple[Rows, tuple[str, ...]]:
    if imported:
        return [row | {"source": row["source"][:8]} for row in rows], IMPORTED
    several = len({row["runtime"] for row in rows}) > 1
    return rows, (*COLUMNS[:3], *(["runtime"] if several else []), *COLUMNS[3:])


def _imported(reader: Reader, device: str | None, metric: str | None, model: str | None) -> Rows:
    """Raises UsageError where nothing was imported, and for names of which nothing was."""
    rows = imports.imported(reader)
    if not rows:
        raise UsageError("nothing was imported yet: quantfarm import FILE")
    for name, given in (("device", device), ("model", model), ("metric", metric)):
        known = {row[name] for row in rows}
        if given is not None and given not in known:
            raise unknown(name, given, known - {""}, "what was imported")
        rows = [row for row in rows if given in (None, row[name])]
    return rows


def _write(rows: Rows, schema: pa.Schema, form: Format, out: Path) -> None:
    """The format is the file's ending where none was asked for."""
    if form is Format.TABLE:
        try:
            form = Format(out.suffix.lstrip("."))
        except ValueError as error:
            raise UsageError(f"{out}: write .json, .csv or .parquet, or say --format") from error
    if form is Format.PARQUET:
        atomic.write_atomic(out, table_files.to_parquet(rows, schema))
    else:
        out.write_text(stored.to_json(rows) if form is Format.JSON else table_files.to_csv(rows, schema))
