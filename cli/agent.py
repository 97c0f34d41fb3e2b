"""quantfarm agent: this machine as a node of a Ray cluster, for a controller elsewhere to measure on."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agents import ray_cluster
from cli.output import print_json, print_rows
from quantfarm.errors import FarmError, UsageError

app = typer.Typer(help=__doc__, no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Which agent; not needed where there is one.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def start(
    head: Annotated[bool, typer.Option("--head", help="Begin a cluster here, with a token of its own.")] = False,
    address: Annotated[str, typer.Option(help="HOST:PORT of the head to join.")] = "",
    name: Annotated[str, typer.Option(help="The device's name on the cluster; default: the machine's.")] = "",
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Of a head.")] = ray_cluster.PORT,
    bind: Annotated[str, typer.Option(help="This machine's address on the cluster; default: loopback.")] = "",
    token_file: Annotated[Path | None, typer.Option(help="The cluster's token; default: HOME/agent/ray-token.")] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="In the background; `quantfarm agent stop` ends it.")
    ] = False,
) -> None:
    """Bring a Ray node up under a device's name, for as long as this runs."""
    if head == bool(address):
        raise UsageError("say --head to begin a cluster here, or --address HOST:PORT to join one")
    name = name or socket.gethostname().split(".")[0]
    wish = ray_cluster.wish(name, address, bind, port, token_file)
    if not ray_cluster.on_loopback(wish.bind):
        _warn()
    if detach:
        return _detached(wish)
    signal.signal(signal.SIGTERM, _interrupted)
    _say(f"Starting a Ray node for the device '{name}' …")
    with ray_cluster.node(wish) as (running, process):
        _tell(running)
        try:
            process.wait()
        except KeyboardInterrupt:
            return _say("Stopping …")
    raise FarmError(f"the Ray node '{name}' ended by itself (status {process.returncode})")


@app.command()
def status(as_json: AsJson = False) -> None:
    """The agents that run on this machine."""
    rows = [
        {"name": n.name, "head": n.head, "is_head": n.is_head, "bind": n.bind, "pid": n.pid, "token_file": n.token_file}
        for n in ray_cluster.running()
    ]
    if as_json:
        print_json(rows)
    elif rows:
        print_rows(rows, list(rows[0]))
    else:
        _say("No agent runs on this machine. Start one: quantfarm agent start --head")


@app.command()
def stop(name: Name = "") -> None:
    """End an agent and its Ray node; nobody else's."""
    node = ray_cluster.one(name)
    ray_cluster.stop(node)
    _say(f"Stopped the agent '{node.name}'.")


def _detached(wish: ray_cluster.Wish) -> None:
    """Starts this very command anew in the background, and waits until it is up."""
    log = ray_cluster.folder() / f"{wish.name}.log"
    log.write_bytes(b"")
    to = ["--address", wish.address] if wish.address else ["--head", "--port", str(wish.port)]
    rest = ["--name", wish.name, "--bind", wish.bind, "--token-file", str(wish.token_file)]
    process = ray_cluster.detached([*to, *rest], log)
    found = _until(process, lambda: next((n for n in ray_cluster.running() if n.name == wish.name), None))
    if found is None:
        process.terminate()
        raise FarmError(log.read_text(errors="replace").strip().removeprefix("quantfarm: ") or f"see {log}")
    _tell(found)


def _until(
    process: subprocess.Popen[bytes], look: Callable[[], ray_cluster.Running | None]
) -> ray_cluster.Running | None:
    end = time.monotonic() + ray_cluster.START_S + 30
    while time.monotonic() < end and process.poll() is None:
        if found := look():
            return found
        time.sleep(0.2)
    return None


def _tell(node: ray_cluster.Running) -> None:
    _say(f"The device '{node.name}' is on the Ray cluster at {node.head} (process {node.pid}).")
    if node.is_head:
        _say(f"Others join with: quantfarm agent start --address {node.head} --name NAME")
        _say(f"They need the token in {node.token_file}: copy it to them over a way that nobody else can read.")
    _say(f"Next: quantfarm device add {node.name} ray://{node.name}")


def _warn() -> None:
    Console(stderr=True, soft_wrap=True).print(
        "Ray will listen on every interface of this machine. Its token keeps strangers from giving it work, but "
        "nothing is encrypted: use this over a VPN or an SSH tunnel only, never on an open network.",
        style="yellow",
    )


def _interrupted(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    Console(soft_wrap=True).print(text, markup=False, highlight=False)
