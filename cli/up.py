"""quantfarm up: the whole farm on this machine, kept running."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from flows.up import parts, servers
from flows.up import run as running
from storage.home import Home

Port = typer.Option(min=1024, max=65535)


def up(
    port: Annotated[int, typer.Option(help="Of Prefect's server and UI, on loopback.", min=1, max=65535)] = (
        servers.PORT
    ),
    dashboard_port: Annotated[int, typer.Option(help="Of the dashboard, on loopback.", min=1, max=65535)] = (
        parts.DASHBOARD_PORT
    ),
    ray: Annotated[bool, typer.Option("--ray", help="Also a Ray head, for devices that are Ray nodes.")] = False,
    nightly: Annotated[bool, typer.Option("--nightly/--no-nightly", help="Measure the watch list by night.")] = True,
) -> None:
    """Start everything on this machine, keep it running, and stop it all on Ctrl-C."""
    console = Console(soft_wrap=True)
    wish = parts.Wish(server=servers.Server(port), dashboard_port=dashboard_port, ray=ray, nightly=nightly)
    running.run(Home.default(), wish, lambda text: console.print(text, markup=False, highlight=False))
