"""Serve what Prefect's UI can start: sweeps, registering devices, checking them. A server of our own on loopback
where none is named by PREFECT_API_URL; it ends with us.

Nothing here imports Prefect before its settings are made.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from flows import reaper, settings
from quantfarm.errors import FarmError, UsageError
from storage.home import Home

HOST = "127.0.0.1"
PORT = 4200
#: A first start makes the server's database.
START_S = 120.0
STOP_S = 20.0


@contextmanager
def server(home: Home, port: int, tell: Callable[[str], None]) -> Iterator[str]:
    """The API's address; of a server that PREFECT_API_URL names, or of our own, started and ended here.

    Raises UsageError where the port is taken, FarmError where the server does not start.
    """
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")  # a run's log is what its reader has
    settings.prepare(home)
    if given := os.environ.get("PREFECT_API_URL"):
        yield given
        return
    _free(port)
    url = f"http://{HOST}:{port}/api"
    tell("starting a Prefect server (about 20 s the first time)")
    keeper = reaper.start()  # ends the server even when we are killed
    log = home.prefect / "server.log"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **_own_pages(url)},
        )
    try:
        _await(f"{url}/health", process, log)
        os.environ["PREFECT_API_URL"] = url
        yield url
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
        if keeper.stdin:
            keeper.stdin.close()


def _own_pages(url: str) -> dict[str, str]:
    """The server's pages ask this port and not the default one; pages of others may ask nothing."""
    return {"PREFECT_SERVER_UI_API_URL": url, "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url.removesuffix("/api")}


def _free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(
                f"port {port} of {HOST} cannot be had ({error.strerror}): if a Prefect server is there, set "
                f"PREFECT_API_URL=http://{HOST}:{port}/api, else give another --port"
            ) from error


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise FarmError(f"the Prefect server ended at once; its log is {log}")
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
                return
        except OSError:
            time.sleep(0.2)
    raise FarmError(f"the Prefect server did not start within {START_S:g} s; its log is {log}")


def deployments(check_every_s: float | None) -> list[Any]:
    """What is served; checks run by themselves only when asked for."""
    from prefect.types.entrypoint import EntrypointType  # noqa: PLC0415 - after Prefect's settings

    from flows.deployed import check_devices, register_device  # noqa: PLC0415
    from flows.sweep import sweep  # noqa: PLC0415

    flows: dict[str, Any] = {"sweep": sweep, "register-device": register_device, "check-devices": check_devices}
    every = {"check-devices": timedelta(seconds=check_every_s)} if check_every_s else {}
    return [
        # Named by its module: run from a path, a flow's own module is another one than its helpers import.
        one.to_deployment(name, entrypoint_type=EntrypointType.MODULE_PATH, interval=every.get(name))
        for name, one in flows.items()
    ]


def run(home: Home, port: int, check_every_s: float | None, tell: Callable[[str], None]) -> None:
    """Serves until it is interrupted."""
    with server(home, port, tell) as url:
        from prefect import serve  # noqa: PLC0415 - after Prefect's settings

        made = deployments(check_every_s)
        tell(f"Prefect's UI: {url.removesuffix('/api')} (deployments: sweep, register-device, check-devices)")
        serve(*made, print_starting_message=False)
