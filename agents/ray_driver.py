"""Ray's driver, in a process of its own: it speaks to Ray for the controller that started it (agents.ray_link).

So a controller never has Ray inside it: Ray keeps one cluster and one token for each process, blocks for minutes
where a head is gone, and reads its nodes' answers with pickle. What goes on to the controller is JSON and bytes.

Frames on the socket whose descriptor is argv[1], each a JSON object and, where it says `blob`, bytes after it:

    in   {"id", "op": "nodes" | "ask", "device", "method", "arguments", "timeout_s", "blob"}
    out  {"id", "value", "blob"}   or   {"id", "error": "gone" | "unreachable" | "refused" | "os", "message"}

The first frame in says where to connect: {"head", "node_ip"}; the first out whether it did.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

import ray
from ray import exceptions

from agents.ray_actor import DEVICE, START, Node

NAMESPACE = "quantfarm"
RESOURCE = "device:"
HELLO_S = 60.0
FAREWELL_S = 5.0
#: How long a host may take to say whether anybody listens, and a killed actor to be started anew.
KNOCK_S = 3.0
ANEW_S = 10.0
#: How often the head is looked for, and how often in a row it may be missed.
WATCH_S = 4.0
MISSED = 2
#: Requests at once. Each open channel has one that waits.
THREADS = 256
NODE_THREADS = 128

Answer = tuple[Any, bytes | None]


class Failed(Exception):
    """`kind`: as in a frame."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def nodes() -> list[dict[str, Any]]:
    """Nodes with a device's name, alive or not: `device`, `address`, `port`, `alive`, `start` (which start of it)."""
    return [
        {
            "device": node["Labels"][DEVICE],
            "address": node["NodeManagerAddress"],
            "port": node["NodeManagerPort"],
            "alive": node["Alive"],
            "start": node["Labels"].get(START, ""),
        }
        for node in ray.nodes()
        if DEVICE in (node.get("Labels") or {})
    ]


class Driver:
    def __init__(self, link: Connection) -> None:
        self._link = link
        self._sending = threading.Lock()
        self._making = threading.Lock()
        self._actors: dict[str, Any] = {}
        self._open: dict[str, str] = {}  # channel -> device
        self._ops: dict[str, Callable[[Mapping[str, Any], bytes | None], Answer]] = {
            "nodes": lambda _frame, _blob: (self._nodes(), None),
            "ask": self._ask,
        }

    def serve(self) -> None:
        """Until the controller closes its side."""
        threading.Thread(target=_watch_head, daemon=True).start()
        pool = ThreadPoolExecutor(THREADS)
        with contextlib.suppress(EOFError, OSError):
            while True:
                frame = json.loads(self._link.recv_bytes())
                blob = self._link.recv_bytes() if frame.get("blob") else None
                pool.submit(self._answer, frame, blob)
        self._farewell()

    def connect(self) -> None:
        """As the first frame says."""
        frame = json.loads(self._link.recv_bytes())
        try:
            options = {"_node_ip_address": frame["node_ip"]} if frame["node_ip"] else {}
            ray.init(
                address=frame["head"],
                namespace=NAMESPACE,
                log_to_driver=False,
                configure_logging=False,
                **options,
            )
        except BaseException as error:
            told = _connecting(error)
            self._send({"id": 0, "error": told.kind, "message": str(told)}, None)
            raise
        self._send({"id": 0, "value": None}, None)

    def _answer(self, frame: Mapping[str, Any], blob: bytes | None) -> None:
        try:
            value, data = self._ops[frame["op"]](frame, blob)
            self._send({"id": frame["id"], "value": value}, data)
        except Failed as error:
            self._send({"id": frame["id"], "error": error.kind, "message": str(error)}, None)
        except Exception as error:
            self._send({"id": frame["id"], "error": "gone", "message": _words(error)}, None)

    def _send(self, frame: Mapping[str, Any], blob: bytes | None) -> None:
        with self._sending, contextlib.suppress(OSError):
            self._link.send_bytes(json.dumps({**frame, "blob": blob is not None}).encode())
            if blob is not None:
                self._link.send_bytes(blob)

    def _nodes(self) -> list[dict[str, Any]]:
        found = nodes()
        here = ray.get_runtime_context().get_node_id()
        if not any(node["NodeID"] == here and node["Alive"] for node in ray.nodes()):
            raise Failed("gone", "this machine's own Ray node died")
        return [{**node, "alive": _lives(node)} for node in found]

    def _ask(self, frame: Mapping[str, Any], blob: bytes | None) -> Answer:
        device, method, timeout_s = frame["device"], frame["method"], frame["timeout_s"]
        arguments = [*frame["arguments"], *([] if blob is None else [blob])]
        try:
            actor = self._actor(device)
        except exceptions.RayError as error:
            raise Failed("unreachable", f"{_named(device)} does not start its agent: {_words(error)}") from error
        try:
            value = ray.get(getattr(actor, method).remote(*arguments), timeout=timeout_s)
        except exceptions.RayTaskError as error:
            raise _of_the_node(device, error) from error
        except exceptions.GetTimeoutError as error:
            raise Failed("gone", f"{_named(device)} did not answer within {timeout_s:g} s") from error
        except exceptions.RayError as error:
            self._actors.pop(device, None)
            raise Failed("gone", _why_gone(device, actor, error)) from error
        self._note(device, method, arguments, value)
        return (None, value) if isinstance(value, bytes) else (value, None)

    def _note(self, device: str, method: str, arguments: list[Any], value: Any) -> None:
        """Which channels are open, to be closed when the controller dies."""
        if method == "start":
            self._open[value] = device
        elif method == "close":
            self._open.pop(arguments[0], None)

    def _actor(self, device: str) -> Any:
        with self._making:
            if device not in self._actors:
                _one_of(device)
                self._actors[device] = _agent(device)
            return self._actors[device]

    def _farewell(self) -> None:
        with contextlib.suppress(Exception):
            left = [self._actors[device].close.remote(name) for name, device in self._open.items()]
            ray.wait(left, num_returns=len(left), timeout=FAREWELL_S) if left else None
        os._exit(0)


def _agent(device: str) -> Any:
    """The one actor of a device, shared by all controllers, when it is up; made where there is none.

    One whose node has died is moved (or given up by Ray, and made anew) as soon as the head has noticed that.
    """
    end = time.monotonic() + HELLO_S
    while True:
        try:
            actor = _made(device)
            ray.get(actor.hello.remote(), timeout=max(1.0, end - time.monotonic()))
            return actor
        except exceptions.RayActorError as error:
            if "ModuleNotFoundError" in str(error):
                where = f"{_named(device)} has no quantfarm: start it with `quantfarm agent start` there"
                raise Failed("refused", where) from error
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _made(device: str) -> Any:
    options = {
        "resources": {f"{RESOURCE}{device}": 1},
        "num_cpus": 0,
        "name": f"agent:{device}",
        "namespace": NAMESPACE,
        "get_if_exists": True,
        "lifetime": "detached",
        "max_restarts": -1,
        "max_task_retries": 0,
        "max_concurrency": NODE_THREADS,
    }
    return ray.remote(Node).options(**options).remote()  # type: ignore[call-arg]


def _one_of(device: str) -> None:
    """Ray would wait for ever for a resource that no node has. Raises Failed."""
    found = nodes()
    alive = [node for node in found if node["device"] == device and _lives(node)]
    if len(alive) > 1:
        where = " and ".join(node["address"] for node in alive)
        raise Failed("refused", f"two Ray nodes are called '{device}', at {where}: stop one of them")
    if not alive:
        dead = "has died or was stopped" if any(n["device"] == device for n in found) else "is not on the cluster"
        known = ", ".join(sorted({node["device"] for node in found if node["alive"]} - {device})) or "none"
        raise Failed("unreachable", f"the Ray node '{device}' {dead}. Others there: {known}")


def _lives(node: Mapping[str, Any]) -> bool:
    """The head takes up to a quarter of a minute to notice a death: its word alone is not taken for it."""
    return bool(node["alive"]) and _listens(node["address"], node["port"])


def _watch_head() -> None:
    """Ends this process with its cluster's head: Ray would spin for a minute, and answer nothing meanwhile."""
    missed = 0
    while missed < MISSED:
        time.sleep(WATCH_S)
        missed = 0 if _listens(*_head()) else missed + 1
    sys.stderr.write(f"the cluster's head at {ray.get_runtime_context().gcs_address} went away\n")
    sys.stderr.flush()
    os._exit(1)


def _head() -> tuple[str, int]:
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return host.strip("[]"), int(port)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), KNOCK_S).close()
    except OSError:
        return False
    return True


def _known(device: str) -> list[dict[str, Any]] | None:
    """What the head knows of a device's nodes; None where it is gone.

    It is knocked at first: Ray would wait a minute for it, and hold up every thread of this process meanwhile.
    """
    return [node for node in nodes() if node["device"] == device] if _listens(*_head()) else None


def _named(device: str) -> str:
    known = _known(device)
    return f"the Ray node '{device}'" + (f" ({known[-1]['address']})" if known else "")


def _why_gone(device: str, actor: Any, error: Exception) -> str:
    """Whether it was the node, its agent or the head that went. The head itself would take long to notice."""
    if (known := _known(device)) is None:
        return f"the Ray node '{device}' went away, and so did the cluster's head"
    if not any(map(_lives, known)):
        return f"{_named(device)} died"
    with contextlib.suppress(exceptions.RayError):
        ray.get(actor.hello.remote(), timeout=ANEW_S)
        return f"the agent on {_named(device)} was killed and started anew"
    return f"{_named(device)} went away ({type(error).__name__}: {_words(error)})"


def _of_the_node(device: str, error: exceptions.RayTaskError) -> Failed:
    """What the agent's own code raised on the node."""
    cause = error.cause
    if isinstance(cause, OSError):
        return Failed("os", cause.strerror or str(cause))
    if isinstance(cause, KeyError):
        return Failed(
            "gone", f"the agent on {_named(device)} was started anew, or had not heard from here for too long"
        )
    return Failed("gone", _words(cause if isinstance(cause, Exception) else error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from."""
    now: BaseException | None = error
    while now:
        yield now
        now = now.__cause__


def _connecting(error: BaseException) -> Failed:
    for one in _chain(error):
        if isinstance(one, exceptions.AuthenticationError) or "AuthenticationError" in str(one):
            return Failed("refused", "token")
        if "mismatch" in str(one):
            return Failed("refused", _words(one))
    return Failed("unreachable", _words(error))


def _words(error: BaseException) -> str:
    """An error in one line, of a bounded length."""
    return " ".join(str(error).split())[:600] or type(error).__name__


def main() -> None:
    driver = Driver(Connection(int(sys.argv[1])))
    driver.connect()
    driver.serve()


if __name__ == "__main__":
    main()
