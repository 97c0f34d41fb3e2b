"""Serve what Prefect's UI can start: sweeps, registering devices, checking them.

`python -m flows.serve` is the serving process of `quantfarm up`. `quantfarm serve` is the same, with a server of its
own on loopback where none is named by PREFECT_API_URL; it ends with us.

Nothing here imports Prefect before its settings are made.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows import deployments, nightly_files, reaper, settings
from flows.up import ports, servers
from flows.up.kept import Kept, Part
from quantfarm.errors import FarmError
from storage.home import Home

PORT = servers.PORT
HOUR = 3600.0
#: A first start makes the server's database.
START_S = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What is served. `check_every_s`: None: devices are checked when somebody asks."""

    check_every_s: float | None = None
    nightly: bool = False
    beat: Path | None = None  # a file that tells whoever watches that we live
    log: Path | None = None  # where flow runs write; none: to our own output


@contextmanager
def server(home: Home, port: int, tell: Callable[[str], None]) -> Iterator[str]:
    """The API's address; of a server that PREFECT_API_URL names, or of our own, started and ended here.

    Raises UsageError where the port is taken, FarmError where the server does not start.
    """
    settings.prepare_served(home)
    if given := os.environ.get("PREFECT_API_URL"):
        yield given
        return
    own = servers.Server(port)
    there = f"; if a Prefect server is there, set PREFECT_API_URL={own.url}"
    ports.need(port, "--port", "Prefect's server and UI", there)
    tell("starting a Prefect server (about 20 s the first time)")
    keeper = reaper.start()  # ends the server even when we are killed
    kept = Kept(
        Part(
            name="the Prefect server",
            command=own.command,
            environment=own.environment,
            log=home.prefect / "server.log",
            answers=lambda _pid: own.api.healthy(),
        )
    )
    try:
        _await(kept)
        os.environ["PREFECT_API_URL"] = own.url
        yield own.url
    finally:
        kept.stop()
        settings.forget_unsent()  # to a server that is gone: at our end Prefect would ask for it for a minute
        if keeper.stdin:
            keeper.stdin.close()


def _await(kept: Kept) -> None:
    end = time.monotonic() + START_S
    while kept.state != "up":
        kept.look(lambda _name: True, lambda _text: None)
        if kept.restarts:
            raise FarmError(f"the Prefect server {kept.problem} (its log is {kept.part.log})")
        if time.monotonic() > end:
            raise FarmError(f"the Prefect server did not start within {START_S:g} s; its log is {kept.part.log}")
        time.sleep(0.1)


def _nights(home: Home, tell: Callable[[str], None]) -> deployments.Cron | None:
    """When the watch list is measured; None where it cannot be read, which is told and looked at again at a start."""
    try:
        when = nightly_files.read(home).schedule
    except FarmError as error:
        tell(f"no nightly runs: {error}")
        return None
    return deployments.Cron(when.cron, when.timezone)


def serve(home: Home, served: Served, tell: Callable[[str], None]) -> None:
    """Registers the deployments with the server of PREFECT_API_URL, and starts their runs until it is told to end."""
    from flows.serving import Serving  # noqa: PLC0415 - after Prefect's settings

    made = deployments.deployments(home, served.check_every_s, _nights(home, tell) if served.nightly else None)
    tell(f"deployments: {', '.join(one.name for one in made)}")
    over = threading.Event()
    follower = threading.Thread(target=deployments.follow, args=(home, made, over.wait), daemon=True)
    follower.start()
    try:
        Serving(served.beat, served.log).serve(made)
    finally:
        over.set()


def run(home: Home, port: int, served: Served, tell: Callable[[str], None]) -> None:
    """Serves until it is interrupted."""
    with server(home, port, tell) as url:
        tell(f"Prefect's UI: {url.removesuffix('/api')}")
        serve(home, served, tell)


def _main() -> None:
    parser = argparse.ArgumentParser(description="The serving process of quantfarm up.")
    parser.add_argument("--beat", type=Path)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--check-every", type=float, help="seconds between checks of all devices")
    parser.add_argument("--nightly", action="store_true")
    given = parser.parse_args()
    home = Home.default()
    settings.prepare_served(home)
    served = Served(check_every_s=given.check_every, nightly=given.nightly, beat=given.beat, log=given.log)
    serve(home, served, lambda text: print(text, flush=True))  # noqa: T201 - into the part's log


if __name__ == "__main__":
    _main()
