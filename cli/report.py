"""quantfarm report: BENCHMARK.md and its plots, from the store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import measured
from cli.output import print_json
from flows import devices
from flows.version import version
from quantfarm.report.benchmark import benchmark_files
from storage import atomic
from storage.home import Home
from storage.sweeps import skips


def report(
    out: Annotated[Path | None, typer.Option(help="Folder to write to. Default: report/ in the home.")] = None,
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths written, as JSON.")] = False,
) -> None:
    """Write BENCHMARK.md and its plots: tables with intervals, frontier, default, quality cliff, conditions."""
    home = Home.default()
    found = [one for group in measured.by_device_and_model(home, device, model) for one in group]
    folder = out or home.report
    files = benchmark_files(
        list(devices.known(home).values()),
        found,
        skips=skips(home),
        commit=version(),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
    )
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        atomic.write_atomic(folder / name, text.encode())
    paths = [str(folder / name) for name in files]
    if as_json:
        print_json(paths)
    else:
        Console(soft_wrap=True).print("\n".join(f"wrote {path}" for path in paths), markup=False, highlight=False)
