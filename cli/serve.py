"""quantfarm serve: sweeps, registrations and checks from Prefect's UI."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from flows import serve as serving
from storage.home import Home

MINUTE = 60.0


def serve(
    port: Annotated[int, typer.Option(help="Of the Prefect server on loopback.", min=1, max=65535)] = serving.PORT,
    check_every: Annotated[
        float | None, typer.Option(help="Minutes between checks of all devices. Default: none by themselves.", min=1)
    ] = None,
    nightly: Annotated[bool, typer.Option("--nightly", help="Measure the watch list by night.")] = False,
) -> None:
    """Serve the deployments alone, until Ctrl-C: nobody starts again what dies (`quantfarm up` does).

    PREFECT_API_URL names a server to use; else one is started on loopback, and ends with this.
    """
    console = Console(soft_wrap=True)
    served = serving.Served(check_every_s=check_every * MINUTE if check_every else None, nightly=nightly)
    serving.run(Home.default(), port, served, lambda text: console.print(text, markup=False, highlight=False))
