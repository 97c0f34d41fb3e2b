"""A real `quantfarm up` with a home of its own, and what is left of it when a test is over: nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.serving import Api
from tests.sweeping import QUANTFARM

#: A first start makes the server's database, on a machine that may be busy.
START_S = 240.0
STOP_S = 60.0
DEPLOYMENTS = ("check-devices", "nightly", "rebuild-database", "register-device", "report", "sweep")


@dataclass(frozen=True)
class Farm:
    url: str  # of the UI
    home: Path
    process: subprocess.Popen[bytes]
    api: Api

    def landed(self) -> list[Path]:
        return sorted((self.home / "cells").glob("*.json"))

    def runners(self) -> list[str]:
        """Programs that measure now, of this farm alone."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        lines = []
        for one in below:
            try:
                lines.append(" ".join(one.cmdline()))
            except psutil.Error:
                continue
        return [line for line in lines if "runners/" in line]


def free_ports(n: int) -> list[int]:
    probes = [socket.socket() for _ in range(n)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def up(folder: Path) -> Iterator[Farm]:
    """Runs until the end of the block; then it is told to stop, and what did not is killed."""
    port, dashboard = free_ports(2)
    home, log = folder / "home", folder / "up.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "QUANTFARM_"))}
    environment |= {"QUANTFARM_HOME": str(home), "QUANTFARM_LEASES": str(folder / "leases")}
    command = [str(QUANTFARM), "up", "--port", str(port), "--dashboard-port", str(dashboard)]
    command += ["--no-nightly", "--check-every", "0", "--no-go-on"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True
        )
    try:
        _await(process, environment, log)
        url = f"http://127.0.0.1:{port}"
        yield Farm(url, home, process, Api(f"{url}/api"))
    finally:
        _stop(process)


def _await(process: subprocess.Popen[bytes], environment: dict[str, str], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        if _well(environment):
            return
        time.sleep(1.0)
    raise AssertionError(f"not everything was up within {START_S:g} s:\n{log.read_text()}")


def _well(environment: dict[str, str]) -> bool:
    """As `up --status` tells it: everything answers, and every check was made."""
    done = subprocess.run(
        [str(QUANTFARM), "up", "--status", "--json"], capture_output=True, env=environment, timeout=60, check=False
    )
    found: dict[str, Any] = json.loads(done.stdout) if done.stdout.startswith(b"{") else {}
    return bool(found.get("well") and found.get("checks"))


def _stop(process: subprocess.Popen[bytes]) -> None:
    below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for left in below:
        if left.is_running():
            left.kill()
