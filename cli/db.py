"""quantfarm db: the database is made from the landed files, and can always be made again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from cli.output import print_json
from storage.home import Home
from storage.ingest import rebuild as rebuild_from_files
from storage.verify import verify as compare_with_files

app = typer.Typer(help="Check the database against the landed files, or make it anew from them.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Wait = Annotated[float, typer.Option("--wait", help="Seconds to wait while another process writes.", min=0)]


@app.command()
def rebuild(as_json: AsJson = False, wait: Wait = 600.0) -> None:
    """Make the database anew from the landed cells and traces, and publish it."""
    version = rebuild_from_files(Home.default(), wait_s=wait, on_wait=_waiting)
    if as_json:
        print_json({"version": version})
    else:
        Console().print(f"The database was made anew from the landed files: version {version}.")


@app.command()
def verify(as_json: AsJson = False, wait: Wait = 600.0) -> None:
    """Compare the database, landed cells, traces and artifacts; exit code 1 when they disagree."""
    found = compare_with_files(Home.default(), wait_s=wait, on_wait=_waiting)
    if as_json:
        print_json([asdict(one) for one in found])
    for one in () if as_json else found:
        Console(soft_wrap=True).print(f"{one.kind}: {one.name}: {one.detail}", markup=False, highlight=False)
    if not found and not as_json:
        Console().print("The database, the landed files and the artifacts agree.")
    raise typer.Exit(1 if found else 0)


def _waiting(holder: str) -> None:
    Console(stderr=True).print(f"waiting: the database is being written by {holder}", markup=False, highlight=False)
