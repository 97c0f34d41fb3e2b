"""A device that is a node of a Ray cluster: a POSIX shell, reached through an actor that is pinned to it.

The actor (agents.ray_actor) only carries bytes; what happens on the device is what happens on every device with
a shell (agents.shell). Ray itself is spoken to by a process of its own (agents.ray_link, agents.ray_driver).
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agents import AgentError, Progress, Refused, Unreachable, Vanished, ray_actor, ray_cluster, ray_link
from agents.shell import ShellAgent
from agents.shell_run import clean
from agents.transport import Channel, Transport
from quantfarm.nouns import DeviceProfile

#: How long one question waits on the node for output.
WAIT_S = 5.0
#: A node that has not answered for this long beyond that is gone (Ray itself takes a minute to see a frozen one).
ANSWER_S = 25.0
#: The first question may have to start the actor: a new Python process there.
HELLO_S = 60.0
#: Files go in pieces, so that neither side's object store has to hold one (bytes).
PIECE = 32 * 2**20
PIECE_S = 120.0
DEVICE = "device"


class RayAgent(ShellAgent):
    """Options of a profile, besides those of every shell: `head` (HOST:PORT) and `token_file` (a path); without
    them RAY_ADDRESS and RAY_AUTH_TOKEN_PATH, or what `quantfarm agent start` left on this machine."""

    def __init__(self, profile: DeviceProfile) -> None:
        super().__init__(profile)
        self._own_folder = "folder" in dict(profile.options)

    def connect(self) -> Transport:
        """Raises Unreachable, Refused, UsageError."""
        way = RayTransport(self.profile, self.silence_s)
        if way.cache and not self._own_folder:
            self.folder = way.cache
        return way


class RayTransport:
    def __init__(self, profile: DeviceProfile, silence_s: float) -> None:
        self._device = profile.address
        self._silence_s = silence_s
        self._lost = threading.Event()
        self._link = ray_link.borrow(ray_cluster.of(dict(profile.options)))
        try:
            self._hello: Mapping[str, Any] = json.loads(self._link.ask(self._device, "hello", timeout_s=HELLO_S)[0])
            _same(self._device, self._hello["versions"])
        except BaseException as error:
            ray_link.give_back(self._link)
            if isinstance(error, Vanished):
                raise Unreachable(str(error)) from error
            raise

    @property
    def cache(self) -> str:
        """The folder that the node's own user wants files in; empty for the default."""
        return str(self._hello.get("cache") or "")

    def start(self, command: str) -> Channel:
        name, _ = self.ask("start", command, self._silence_s, timeout_s=ANSWER_S)
        return RayChannel(self, str(name))

    def send(self, file: Path, to: str, offset: int, on_progress: Progress) -> None:
        size = file.stat().st_size
        with _stage("push"), file.open("rb") as opened:
            opened.seek(offset)
            while True:
                piece = opened.read(PIECE)
                self.ask("append", to, offset, blob=piece, timeout_s=PIECE_S)
                offset += len(piece)
                on_progress(offset, size)
                if offset >= size or not piece:
                    break

    def fetch(self, path: str, to: Path) -> None:
        with _stage("pull"), to.open("wb") as opened:
            while piece := self.ask("part", path, opened.tell(), PIECE, timeout_s=PIECE_S)[1]:
                opened.write(piece)

    def facts(self) -> Mapping[str, Any]:
        """The node's interpreter, which has quantfarm in it, and what runtimes that has."""
        builds = {clean(str(key)): clean(str(value)) for key, value in dict(self._hello["builds"]).items()}
        return {"options": {"python": str(self._hello["python"])}, "builds": builds}

    def alive(self) -> bool:
        return self._link.alive and not self._lost.is_set()

    def close(self) -> None:
        ray_link.give_back(self._link)

    def ask(self, method: str, *arguments: Any, blob: bytes | None = None, timeout_s: float) -> ray_link.Answer:
        """A question to the node. Raises Vanished, OSError (the node's own)."""
        try:
            return self._link.ask(self._device, method, *arguments, blob=blob, timeout_s=timeout_s)
        except AgentError as error:
            self._lost.set()
            raise Vanished(str(error)) from error


class RayChannel:
    """A process on the node, by its name there."""

    def __init__(self, way: RayTransport, name: str) -> None:
        self._way, self._name = way, name
        self._closed = threading.Event()
        self._why = ""

    def write(self, data: bytes) -> None:
        try:
            self._way.ask("write", self._name, blob=data, timeout_s=ANSWER_S)
        except (AgentError, OSError) as error:
            self._why = self._why or str(error)
            raise Vanished(self._why) from error

    def end(self) -> None:
        with contextlib.suppress(AgentError, OSError):
            self._way.ask("end", self._name, timeout_s=ANSWER_S)

    def read(self) -> bytes:
        try:
            while not self._closed.is_set():
                _, data = self._way.ask("read", self._name, WAIT_S, timeout_s=WAIT_S + ANSWER_S)
                if data is None:
                    return b""
                if data:
                    return data
        except (AgentError, OSError) as error:
            self._why = self._why or str(error)
        return b""

    def stderr(self) -> str:
        """Why the way was lost, where it was: that is the last word on this command."""
        if self._why:
            return self._why
        try:
            return str(self._way.ask("stderr", self._name, timeout_s=ANSWER_S)[0])
        except (AgentError, OSError) as error:
            return str(error)

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        if self._way.alive():
            with contextlib.suppress(AgentError, OSError):
                self._way.ask("close", self._name, timeout_s=ANSWER_S)


def _same(device: str, there: Mapping[str, str]) -> None:
    """Raises Refused where the node runs other versions of what has to be the same."""
    here = ray_actor.versions()
    other = [
        f"{what} {there.get(what, 'none')} there, {here[what]} here" for what in here if there.get(what) != here[what]
    ]
    if other:
        raise Refused(
            f"the Ray node '{device}' runs another version: {'; '.join(map(clean, other))}. "
            "Install the same there, and start its agent again (quantfarm agent stop, quantfarm agent start)"
        )


@contextlib.contextmanager
def _stage(stage: str) -> Iterator[None]:
    """A device that went away then, went away at this stage."""
    try:
        yield
    except Vanished as error:
        raise Vanished(str(error), stage=stage) from error


def discover() -> list[tuple[str, str, str]]:
    """Nodes of this machine's cluster that live: device name, address, the resource that pins to it.

    Nothing where this machine is on no cluster. Raises AgentError.
    """
    cluster = ray_cluster.known()
    if cluster is None:
        return []
    link = ray_link.borrow(cluster)
    try:
        return sorted(
            (str(node[DEVICE]), str(node["address"]), f"{DEVICE}:{node[DEVICE]}")
            for node in link.nodes()
            if node["alive"]
        )
    finally:
        ray_link.give_back(link)
