"""What `quantfarm up` starts: the parts of the farm, in the order of their needs."""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agents import ray_cluster
from flows import pages
from flows.up import ports, state
from flows.up.kept import Part
from flows.up.servers import SECRETS, Server
from quantfarm.errors import FarmError
from storage.home import Home

DASHBOARD_PORT = 8501
RAY_PORT = ray_cluster.PORT
#: A serving process that has not told of itself for so long does not answer.
BEAT_OLD_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for."""

    server: Server = field(default_factory=Server)
    dashboard_port: int = DASHBOARD_PORT
    ray: bool = False
    ray_port: int = RAY_PORT
    nightly: bool = True
    check_every_s: float = 3600.0
    go_on: bool | None = None  # None: ask where somebody can answer


def all_parts(home: Home, wish: Wish) -> list[Part]:
    """Raises UsageError where a port is taken."""
    parts = [server(wish.server), serving(home, wish), dashboard(wish.dashboard_port)]
    if wish.ray:
        parts.append(ray_head(wish.ray_port))
    secrets = {one.name: () if one.name == "server" else SECRETS for one in parts}
    return [replace(one, log=state.folder(home) / f"{one.name}.log", without=secrets[one.name]) for one in parts]


def server(own: Server) -> Part:
    ports.need(own.port, "--port", "Prefect's server and UI")
    return Part(
        name="server",
        command=own.command,
        environment=own.environment,
        log=Path(),
        answers=lambda _pid: own.api.healthy(),
        url=own.pages,
        obstacle=lambda: "" if ports.free(own.port) else f"port {own.port} is taken by {ports.holder(own.port)}",
    )


def beat_file(home: Home) -> Path:
    return state.folder(home) / "serving.json"


def flows_log(home: Home) -> Path:
    """What flow runs write, all of them; the log of each is in Prefect's UI."""
    return state.folder(home) / "flows.log"


def beat(home: Home) -> dict[str, Any]:
    """What the serving process last told of itself; empty where it has not yet."""
    try:
        found = json.loads(beat_file(home).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def serving(home: Home, wish: Wish) -> Part:
    command = [sys.executable, "-P", "-m", "flows.serve", "--beat", str(beat_file(home)), "--log", str(flows_log(home))]
    command += ["--check-every", str(wish.check_every_s)] if wish.check_every_s else []
    command += ["--nightly"] if wish.nightly else []

    def answers(pid: int) -> bool:
        told = beat(home)
        fresh = time.monotonic() - float(told.get("at") or 0) < BEAT_OLD_S
        return told.get("pid") == pid and fresh and bool(told.get("polled"))

    return Part(
        name="serving",
        command=tuple(command),
        environment={"PREFECT_API_URL": wish.server.url},
        log=Path(),
        answers=answers,
        needs="server",
    )


def dashboard(port: int) -> Part:
    ports.need(port, "--dashboard-port", "the dashboard")
    return Part(
        name="dashboard",
        command=pages.command(port),
        log=Path(),
        answers=lambda _pid: _answers(pages.health(port)),
        url=pages.url(port),
        obstacle=lambda: "" if ports.free(port) else f"port {port} is taken by {ports.holder(port)}",
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own
            return answer.status == 200
    except OSError:
        return False


def ray_head(port: int) -> Part:
    """As `quantfarm agent start --head`, whose rules hold here: loopback, a token for its owner's eyes."""
    name = socket.gethostname().split(".")[0]
    ray_cluster.wish(name, "", "", port, None)  # what is wrong is said before anything starts
    command = (sys.executable, "-P", "-m", "cli.main", "agent", "start", "--head", "--name", name, "--port", str(port))
    return Part(
        name="ray",
        command=command,
        log=Path(),
        answers=lambda pid: any(node.pid == pid for node in ray_cluster.running()),
        url=f"ray://{ray_cluster.LOOPBACK}:{port}",
        obstacle=lambda: _ray_obstacle(name, port),
    )


def _ray_obstacle(name: str, port: int) -> str:
    try:
        ray_cluster.wish(name, "", "", port, None)
    except FarmError as error:
        return str(error)
    return ""
