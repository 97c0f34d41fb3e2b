"""Real Ray nodes on this machine, started as users start them: one head, and others that join it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from quantfarm.nouns import DeviceProfile, Scalar, parameters

HEAD = "desk"


def need_ray() -> None:
    """Skips without Ray; where everything has to be tested, that is a failure."""
    if importlib.util.find_spec("ray") is None:
        text = "Ray is not installed (pip install 'quantfarm[ray]')"
        pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)


def cli(folder: Path, *arguments: str, limit: float = 120) -> subprocess.CompletedProcess[str]:
    """`quantfarm agent …` of a machine whose home is `folder`."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "cli.main", "agent", *arguments],
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )


def _environment(folder: Path) -> dict[str, str]:
    mine = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    # Leases of its own for each: devices that stand for different machines.
    own = {"QUANTFARM_HOME": str(folder / "home"), "QUANTFARM_LEASES": str(folder / "leases")}
    return {**mine, **own, "HOME": str(folder)}


@dataclass
class Node:
    """An agent that runs in the foreground, with a folder as its machine."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.folder / "agent.log").read_text(errors="replace")

    def family(self) -> list[psutil.Process]:
        """The agent, Ray's processes, and the worker that the actor lives in."""
        try:
            me = psutil.Process(self.process.pid)
            return [me, *me.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def worker(self) -> psutil.Process:
        """Of the actor."""
        return next(one for one in self.family() if "ray::Node" in " ".join(one.cmdline()))

    def kill(self) -> None:
        """As a power cut: everything of it at once, down to what is measured."""
        for one in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait(30)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass
class Cluster:
    """Its nodes by name; `folder` is the head's."""

    folder: Path
    port: int
    nodes: dict[str, Node] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def token(self) -> Path:
        return self.nodes[HEAD].folder / "home" / "agent" / "ray-token"

    def start(self, name: str) -> Node:
        """A node; the first is the head. It is up when this returns."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        first = ["--head", "--port", str(self.port)]
        how = first if name == HEAD else ["--address", self.head, "--token-file", str(self.token)]
        with (place / "agent.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cli.main", "agent", "start", *how, "--name", name],
                env=_environment(place),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        node = self.nodes[name] = Node(name, place, process)
        _await(node)
        return node

    def profile(self, name: str, **options: Scalar) -> DeviceProfile:
        ways = {"head": self.head, "token_file": str(self.token)}
        return DeviceProfile(name=name, kind="ray", address=name, options=parameters({**ways, **options}))

    def stop(self) -> None:
        """The head last: nodes that lose it go noisily."""
        for node in reversed(list(self.nodes.values())):
            node.stop()
            cli(node.folder, "status")  # sweeps up after one that was killed


def _await(node: Node) -> None:
    end = time.monotonic() + 120
    while "Next: quantfarm device add" not in node.log:
        assert node.process.poll() is None, node.log
        assert time.monotonic() < end, node.log
        time.sleep(0.1)


@contextmanager
def cluster(folder: Path, *names: str) -> Iterator[Cluster]:
    """A head, and nodes of these names beside it."""
    need_ray()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Cluster(folder, port)
    try:
        for name in (HEAD, *names):
            made.start(name)
        yield made
    finally:
        made.stop()


@contextmanager
def ray_node(request: pytest.FixtureRequest, folder: Path) -> Iterator[DeviceProfile]:
    """One device, for suites that hold every kind to the same."""
    with cluster(folder) as made:
        yield made.profile(HEAD)
