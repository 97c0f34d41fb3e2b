"""quantfarm report: BENCHMARK.md, model cards, WRITEUP.md and their plots, from the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.output import print_json
from flows import reporting
from flows.reporting import Document
from storage.home import Home


def report(
    documents: Annotated[list[Document] | None, typer.Argument(help="Which documents. Default: all.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to. Default: report/ in the home.")] = None,
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths written, as JSON.")] = False,
) -> None:
    """Write what was measured for others to read, all of it or nothing: `benchmark` (BENCHMARK.md: defaults, targets,
    tables with intervals, plots, conditions), `cards` (a model card for each variant, in model_cards/) and `writeup`
    (WRITEUP.md: what was asked, how it was measured, what was found)."""
    home = Home.default()
    written = reporting.write(home, out or home.report, device, model, documents or tuple(Document))
    paths = [str(path) for path in written]
    if as_json:
        print_json(paths)
    else:
        Console(soft_wrap=True).print("\n".join(f"wrote {path}" for path in paths), markup=False, highlight=False)
