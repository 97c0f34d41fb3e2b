"""quantfarm results: every figure with its interval, as a table, JSON, CSV or Parquet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.output import Format, print_json, print_rows
from quantfarm.errors import UsageError
from storage import results as stored
from storage.home import Home
from storage.reading import Reader

COLUMNS = ("device", "model", "variant", "workload", "metric", "value", "unit", "low", "high", "n", "reason")


def results(
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    metric: Annotated[str | None, typer.Option(help="Only this metric, e.g. bench_tg.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of stdout.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Print what was measured: one row per figure, the median over launches with its interval."""
    with Reader(Home.default()) as reader:
        rows = stored.results(reader, device=device, metric=metric, model=model)
    form = Format.JSON if as_json else form
    if out:
        _write(rows, form, out)
    elif form is Format.TABLE:
        several = len({row["runtime"] for row in rows}) > 1
        print_rows(rows, (*COLUMNS[:3], *(["runtime"] if several else []), *COLUMNS[3:]))
    elif form is Format.JSON:
        print_json(rows)
    elif form is Format.CSV:
        sys.stdout.write(stored.to_csv(rows))
    else:
        raise UsageError("Parquet is no text: give a file with --out results.parquet")


def _write(rows: list[dict[str, object]], form: Format, out: Path) -> None:
    """The format is the file's ending where none was asked for."""
    if form is Format.TABLE:
        try:
            form = Format(out.suffix.lstrip("."))
        except ValueError as error:
            raise UsageError(f"{out}: write .json, .csv or .parquet, or say --format") from error
    if form is Format.PARQUET:
        stored.to_parquet(rows, out)
    else:
        out.write_text(stored.to_json(rows) if form is Format.JSON else stored.to_csv(rows))
