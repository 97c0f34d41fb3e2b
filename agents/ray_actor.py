"""What runs on a Ray node for a controller: processes by their pipes, files by their bytes, and nothing more.

No word of Ray: `agents.ray_driver` makes an actor of `Node`. Leases, limits and end marks are those of every
device that is reached through a shell (agents/device/).
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import sys
import threading
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from agents.transport import ProcessChannel

#: How a driver and this file speak; a change here that an older driver would not understand is a new number.
PROTOCOL = 1
#: Output that is kept for a controller that has not asked for it yet, in bytes; then the process waits.
KEPT = 4 * 2**20
#: The most bytes of one answer.
BATCH = 2**20
SWEEP_S = 2.0
#: Names of the variables that a node was started with (agents.ray_cluster), so that Ray's own go no further.
NAMES = "QUANTFARM_NODE_VARIABLES"
#: Labels of a node: the device's name, and which start of it this is.
DEVICE, START = "quantfarm-device", "quantfarm-start"


def environment() -> dict[str, str]:
    """What `agent start` was started with: neither Ray's settings nor its token go to what is measured."""
    names = os.environ.get(NAMES)
    if names is None:
        return dict(os.environ)
    return {name: os.environ[name] for name in json.loads(names) if name in os.environ}


def versions() -> dict[str, str]:
    """Of all that has to be the same on both sides."""
    found = {"protocol": str(PROTOCOL), "python": platform.python_version()}
    for package in ("ray", "quantfarm"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"
    return found


def builds() -> dict[str, str]:
    """Runtimes that this interpreter has, in the words of DeviceProfile.builds."""
    with suppress(metadata.PackageNotFoundError):
        return {"llama_cpp": f"llama-cpp-python {metadata.version('llama-cpp-python')}"}
    return {}


class Node:
    """The processes and files of one node, for any number of controllers."""

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}
        threading.Thread(target=self._sweep, daemon=True).start()

    def hello(self) -> str:
        """JSON: `versions`, `python` (the interpreter), `builds`, `cache` (the user's own, or empty)."""
        cache = os.environ.get("QUANTFARM_CACHE", "")
        told = {"versions": versions(), "python": sys.executable, "builds": builds(), "cache": cache}
        return json.dumps(told)

    def start(self, command: str, silence_s: float) -> str:
        """A line of POSIX shell; the channel's name. It is closed when nobody has spoken of it for `silence_s`."""
        name = secrets.token_hex(8)
        self._channels[name] = _Channel(command, silence_s)
        return name

    def read(self, name: str, wait_s: float) -> bytes | None:
        """Some of its output, waiting for it a while: b"" for none yet, None at its end."""
        return self._channels[name].read(wait_s)

    def write(self, name: str, data: bytes) -> None:
        self._channels[name].write(data)

    def end(self, name: str) -> None:
        if channel := self._channels.get(name):
            channel.end()

    def stderr(self, name: str) -> str:
        return self._channels[name].stderr()

    def close(self, name: str) -> None:
        if channel := self._channels.pop(name, None):
            channel.close()

    def append(self, path: str, offset: int, data: bytes) -> None:
        """Bytes at `offset` of a file, whose end they are; at 0 it is made anew. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.truncate(offset)
            file.seek(offset)
            file.write(data)

    def part(self, path: str, offset: int, size: int) -> bytes:
        """`size` bytes of a file, fewer at its end. Raises OSError."""
        with Path(path).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def _sweep(self) -> None:
        """A controller that was killed says no farewell."""
        while True:
            time.sleep(SWEEP_S)
            for name in [name for name, channel in list(self._channels.items()) if channel.forgotten()]:
                self.close(name)


class _Channel:
    """A process whose output is kept, up to a bound, until it is asked for."""

    def __init__(self, command: str, silence_s: float) -> None:
        self._process = ProcessChannel(["sh", "-c", command], environment())
        self._silence_s = silence_s
        self._spoken = time.monotonic()
        self._kept = bytearray()
        self._ended = self._closed = False
        self._changed = threading.Condition()
        threading.Thread(target=self._keep, daemon=True).start()

    def _keep(self) -> None:
        while data := self._process.read():
            with self._changed:
                self._changed.wait_for(lambda: len(self._kept) < KEPT or self._closed)
                if self._closed:
                    break
                self._kept += data
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def read(self, wait_s: float) -> bytes | None:
        self._spoken = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: self._kept or self._ended or self._closed, wait_s)
            self._spoken = time.monotonic()
            data = bytes(self._kept[:BATCH])
            del self._kept[:BATCH]
            self._changed.notify_all()
            return None if not data and (self._ended or self._closed) else data

    def write(self, data: bytes) -> None:
        self._spoken = time.monotonic()
        self._process.write(data)

    def end(self) -> None:
        self._spoken = time.monotonic()
        self._process.end()

    def stderr(self) -> str:
        return self._process.stderr()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._process.close()

    def forgotten(self) -> bool:
        return time.monotonic() - self._spoken > self._silence_s
