"""A server in a network namespace of its own: a separate host, whose cable can be pulled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ssh.server import Server, sshd


class Cable:
    """The link to the other host."""

    def __init__(self, device: str) -> None:
        self._device = device

    def pull(self) -> None:
        """From now on every packet is lost: neither side is told."""
        ip("link", "set", self._device, "down")

    def plug(self) -> None:
        ip("link", "set", self._device, "up")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def host_apart(tmp_path: Path, lines: str = "") -> Iterator[tuple[Server, Cable]]:
    """Skips where the machine lets nobody make network namespaces."""
    name, ours, theirs = f"qf{os.getpid()}", f"qfa{os.getpid()}", f"qfb{os.getpid()}"
    octet = os.getpid() % 250 + 1
    if os.getuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and ip (Debian: iproute2)")
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine makes no network namespaces: {error.stderr.decode().strip()}")
    try:
        ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        ip("addr", "add", f"10.213.{octet}.1/30", "dev", ours)
        ip("link", "set", ours, "up")
        ip("-n", name, "addr", "add", f"10.213.{octet}.2/30", "dev", theirs)
        ip("-n", name, "link", "set", theirs, "up")
        ip("-n", name, "link", "set", "lo", "up")
        with sshd(
            tmp_path, "host-apart", host=f"10.213.{octet}.2", enter=("ip", "netns", "exec", name), lines=lines
        ) as it:
            yield it, Cable(ours)
    finally:
        ip("netns", "del", name)  # the pair of interfaces goes with it
