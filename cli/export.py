"""quantfarm export: what was measured, in the formats of other tools."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from quantfarm.errors import UsageError
from storage import atomic
from storage.exporting import BINARY, TABLE, Asked, Exported
from storage.exporting import export as exported
from storage.home import Home
from storage.reading import Reader


def export(
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(TABLE)}.")],
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of stdout.")] = None,
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    metric: Annotated[str | None, typer.Option(help="Only this metric, e.g. bench_tg.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
) -> None:
    """Write what was measured here as CSV, Parquet, Bencher Metric Format or llama-bench's JSON lines."""
    if form in BINARY and out is None:
        raise UsageError(f"{form} is no text: give a file with --out")
    with Reader(Home.default()) as reader:
        made = exported(reader, form, Asked(device, metric, model))
    if not made.rows:
        raise UsageError(f"nothing to export as {form}{_but(made)}: run quantfarm results")
    _write(made, out)
    where = f" to {out}" if out else ""
    Console(stderr=True, soft_wrap=True).print(
        f"{made.rows} figures{where}{_but(made)}", style="dim", markup=False, highlight=False
    )


def _but(made: Exported) -> str:
    return f"; left out: {', '.join(made.left_out)}" if made.left_out else ""


def _write(made: Exported, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(made.data.decode())
        return
    try:
        atomic.write_atomic(out, made.data)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror or error}") from error
