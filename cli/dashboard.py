"""quantfarm dashboard: the farm's pages in a browser."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
import webbrowser
from typing import Annotated

import typer
from rich.console import Console

from flows import pages
from flows.up import ports
from flows.up.parts import DASHBOARD_PORT
from quantfarm.errors import FarmError
from storage.home import Home

WITHIN_S = 60.0
POLL_S = 0.1


def dashboard(
    port: Annotated[int, typer.Option(help="On loopback.", min=1, max=65535)] = DASHBOARD_PORT,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in the browser.")] = True,
) -> None:
    """Open the farm's pages: what each device should run, why, what changed, whether to trust it. Ctrl-C ends it.

    They read what is published and are never in the way of a sweep. `quantfarm up` serves them too.
    """
    ports.need(port, "--port", "the dashboard")
    environment = {**os.environ, "QUANTFARM_HOME": str(Home.default().root)}
    process = subprocess.Popen(pages.command(port), env=environment, stdout=subprocess.DEVNULL)
    try:
        _await(process, port)
        Console(soft_wrap=True).print(f"The dashboard is at {pages.url(port)} (Ctrl-C ends it)", highlight=False)
        if browser:
            webbrowser.open(pages.url(port))
        if code := process.wait():
            raise FarmError(f"the dashboard has ended with exit status {code}")
    except KeyboardInterrupt:
        return
    finally:
        process.terminate()
        process.wait()


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise FarmError(f"the dashboard did not start (exit status {process.returncode}): see above")
        try:
            with urllib.request.urlopen(pages.health(port), timeout=5):  # noqa: S310 - our own
                return
        except OSError:
            time.sleep(POLL_S)
    raise FarmError(f"the dashboard did not answer on port {port} within {WITHIN_S:g} s")
