"""The controller's side of `agents.ray_driver`: requests to it, one process for each cluster."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agents import AgentError, Refused, Unreachable, Vanished
from agents.ray_boot import CLUSTER
from agents.shell_run import after, clean, last_line
from agents.transport import Tail
from quantfarm.errors import UsageError

#: To look whether anybody listens at all, before Ray would try for minutes.
KNOCK_S = 5.0
CONNECT_S = 60.0
NODES_S = 10.0
GRACE_S = 5.0
#: What a driver may need besides, to find out what went wrong.
WHY_S = 30.0

#: A value, or bytes.
Answer = tuple[Any, bytes | None]


@dataclass(frozen=True, slots=True)
class Cluster:
    """How a cluster is reached. `node_ip`: this machine's own address on it, empty where that is not known."""

    head: str  # host:port
    token_file: Path
    node_ip: str = ""

    @property
    def loopback(self) -> bool:
        return on_loopback(self.head)


def on_loopback(address: str) -> bool:
    host = address.rpartition(":")[0] or address
    return host in ("localhost", "::1", "[::1]") or host.startswith("127.")


def settings(cluster: Cluster) -> dict[str, str]:
    """Variables of every process of Ray's that we start."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(cluster.token_file),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_NUM_REDIS_GET_RETRIES": "5",  # seconds that a wrong token is tried
        **({CLUSTER: "0"} if cluster.loopback else {}),
    }


def need_ray() -> None:
    """Raises UsageError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError("Ray is not installed here: pip install 'quantfarm[ray]'")


def knock(head: str) -> None:
    """Raises Unreachable where nobody listens, UsageError where it is no address."""
    host, _, port = head.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"'{head}' is no address of a Ray head: give HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()
    except OSError as error:
        why = error.strerror or error
        raise Unreachable(f"no Ray head at {head}: {why}. Start one: quantfarm agent start --head") from error


class Link:
    """A driver's process. Requests may come from several threads at once."""

    def __init__(self, cluster: Cluster) -> None:
        """Raises Unreachable, Refused, UsageError."""
        need_ray()
        knock(cluster.head)
        self.cluster = cluster
        self._waiting: dict[int, Future[Answer]] = {}
        self._ids = itertools.count(1)
        self._sending = threading.Lock()
        self._connected: Future[Answer] = Future()
        self._waiting[0] = self._connected
        self._hung = False
        self._process, self._socket = _start(cluster)
        self._link = Connection(os.dup(self._socket.fileno()))
        assert self._process.stderr
        stderr = self._process.stderr
        self._tail = Tail(lambda: os.read(stderr.fileno(), 65536))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self._connect()

    def _connect(self) -> None:
        try:
            self._send({"head": self.cluster.head, "node_ip": self.cluster.node_ip}, None)
            self._connected.result(CONNECT_S)
        except Late as error:
            self.close()
            raise Unreachable(
                f"the Ray cluster at {self.cluster.head} did not let us in within {CONNECT_S:g} s"
                + after(last_line(self._tail.text()))
            ) from error
        except AgentError as error:
            self.close()
            raise _explained(error, self.cluster) from error

    @property
    def alive(self) -> bool:
        return self._process.poll() is None and self._thread.is_alive() and not self._hung

    def nodes(self) -> list[dict[str, Any]]:
        """Nodes with a device's name: `device`, `address`, `alive`. Raises AgentError."""
        return self._request({"op": "nodes"}, None, NODES_S - WHY_S)[0]

    def ask(self, device: str, method: str, *arguments: Any, blob: bytes | None = None, timeout_s: float) -> Answer:
        """A method of `agents.ray_actor.Node` on a device. Raises AgentError, OSError (the node's own)."""
        frame = {"op": "ask", "device": device, "method": method, "arguments": arguments, "timeout_s": timeout_s}
        return self._request(frame, blob, timeout_s)

    def close(self) -> None:
        """The driver closes what it opened on nodes, and ends."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(GRACE_S * 2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._tail.text()
        self._thread.join(GRACE_S)
        for opened in (self._socket, self._link, self._process.stderr):
            if opened:
                opened.close()

    def _request(self, frame: dict[str, Any], blob: bytes | None, timeout_s: float) -> Answer:
        answer: Future[Answer] = Future()
        number = next(self._ids)
        self._waiting[number] = answer
        try:
            self._send({**frame, "id": number}, blob)
            return answer.result(timeout_s + WHY_S)
        except Late as error:
            self._hung = frame["op"] == "nodes"
            raise Vanished(f"Ray's driver here hung, while asked for {frame.get('device', 'nodes')}") from error
        finally:
            self._waiting.pop(number, None)

    def _send(self, frame: dict[str, Any], blob: bytes | None) -> None:
        try:
            with self._sending:
                self._link.send_bytes(json.dumps({**frame, "blob": blob is not None}).encode())
                if blob is not None:
                    self._link.send_bytes(blob)
        except OSError as error:
            raise self._gone() from error

    def _gone(self) -> Vanished:
        told = after(last_line(self._tail.text()))
        return Vanished(f"the way to the Ray cluster at {self.cluster.head} is gone{told}")

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                frame = json.loads(self._link.recv_bytes())
                blob = self._link.recv_bytes() if frame["blob"] else None
                self._answer(frame, blob)
        for waiting in list(self._waiting.values()):
            if not waiting.done():
                waiting.set_exception(self._gone())

    def _answer(self, frame: dict[str, Any], blob: bytes | None) -> None:
        waiting = self._waiting.get(frame["id"])
        if waiting is None or waiting.done():
            return
        if kind := frame.get("error"):
            waiting.set_exception(_error(kind, clean(str(frame["message"]))))
        else:
            waiting.set_result((frame["value"], blob))


def _start(cluster: Cluster) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    # Without Ray's own variables of the user: the cluster is the one that was asked for.
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | settings(cluster)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "agents.ray_driver", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is the controller's: it says farewell
        )
    return process, ours


def _error(kind: str, message: str) -> Exception:
    if kind == "os":
        return OSError(message)
    return {"unreachable": Unreachable, "refused": Refused}.get(kind, Vanished)(message)


def _explained(error: AgentError, cluster: Cluster) -> AgentError:
    text = str(error)
    if isinstance(error, Refused):
        return Refused(
            f"the Ray head at {cluster.head} does not know the token in {cluster.token_file}: it must be the head's own"
            if text == "token"
            else f"the Ray cluster at {cluster.head} runs other versions than this machine: {text}"
        )
    return Unreachable(
        f"no way into the Ray cluster at {cluster.head}: {text}. This machine must be a node of it: "
        f"quantfarm agent start --address {cluster.head} --name NAME"
    )


_shared: dict[Cluster, tuple[Link, int]] = {}
_sharing = threading.Lock()


def borrow(cluster: Cluster) -> Link:
    """The link to a cluster, shared by all agents of this process; give it back. Raises as Link does."""
    with _sharing:
        link, users = _shared.get(cluster, (None, 0))
        if link is None or not _works(link):
            link, users = Link(cluster), 0
        _shared[cluster] = (link, users + 1)
        return link


def give_back(link: Link) -> None:
    with _sharing:
        kept, users = _shared.get(link.cluster, (None, 0))
        if kept is link and users > 1:
            _shared[link.cluster] = (link, users - 1)
            return
        if kept is link:
            del _shared[link.cluster]
        link.close()


def _works(link: Link) -> bool:
    try:
        link.nodes()
    except (AgentError, OSError):
        return False
    return link.alive
