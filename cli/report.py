"""quantfarm report: BENCHMARK.md and its plots, from the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.output import print_json
from flows import reporting
from storage.home import Home


def report(
    out: Annotated[Path | None, typer.Option(help="Folder to write to. Default: report/ in the home.")] = None,
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths written, as JSON.")] = False,
) -> None:
    """Write BENCHMARK.md and its plots: tables with intervals, frontier, default, quality cliff, conditions."""
    home = Home.default()
    paths = [str(path) for path in reporting.write(home, out or home.report, device, model)]
    if as_json:
        print_json(paths)
    else:
        Console(soft_wrap=True).print("\n".join(f"wrote {path}" for path in paths), markup=False, highlight=False)
