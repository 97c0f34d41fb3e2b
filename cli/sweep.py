"""quantfarm sweep: measure, then show what this device should run."""

from __future__ import annotations

import os
from typing import Any

import httpx
import typer
from rich.console import Console

from cli import decide, live, own_server, unfinished
from cli import request as options
from cli.output import print_json
from flows import prepare, progress, settings
from quantfarm.errors import FarmError, UsageError
from quantfarm.sweeps import Sweep
from storage import sweeps
from storage.home import Home


def carry_out(asked: Sweep, as_json: bool) -> None:
    """Measure a model's quantizations. What is finished already is not run again.

    Exit code 0: every cell is good; 1: some failed or wait for a device (they are listed); 2: the request was wrong.
    """
    home = Home.default()
    prepare.check(home, asked)  # every mistake is said before anything starts
    _show(home, asked.model_dump(mode="json"), as_json)


def go_on(sweep_id: str, as_json: bool) -> None:
    """Go on with an unfinished sweep; none named: list them."""
    home = Home.default()
    if not sweep_id:
        return unfinished.show(home, as_json)
    known = sweeps.find(home, sweep_id)
    if known.alive:
        raise UsageError(f"sweep {sweep_id} is being carried out by another process already")
    return _show(home, {"resume": sweep_id}, as_json)


def _show(home: Home, arguments: dict[str, Any], as_json: bool) -> None:
    console = Console(stderr=as_json)
    counts = run(home, arguments, None if as_json else live.LiveTable(console))
    if as_json:
        print_json(counts)
    else:
        decide.summary(home, counts, console)
    if counts["failed"] or counts["waiting"]:
        raise typer.Exit(1)


def run(home: Home, arguments: dict[str, Any], table: live.LiveTable | None) -> dict[str, Any]:
    """The flow, with a server of its own where none is set; its counts."""
    with own_server.ready(home):
        # A server of our own does not come back, and one that is gone is not waited for by the minute.
        os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "1")
        return _called(arguments, table)


def _called(arguments: dict[str, Any], table: live.LiveTable | None) -> dict[str, Any]:
    """Raises FarmError where Prefect's server went away before the sweep was over; one that was over is whole."""
    import flows.sweep  # noqa: PLC0415 - after Prefect's settings

    flow: Any = flows.sweep.sweep
    try:
        if table is None:
            return flow(**arguments)
        with progress.listening(table), table:
            return flow(**arguments)
    except httpx.TransportError as error:
        settings.forget_unsent()
        if flows.sweep.ENDED:
            return flows.sweep.ENDED[-1]
        raise FarmError(
            f"Prefect's server went away ({error}). What was finished is kept; the same command, or `quantfarm sweep "
            "--resume`, goes on"
        ) from error


sweep = options.command(carry_out, go_on)
