"""One real device of each kind, for suites that hold all of them to the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantfarm.nouns import DeviceProfile
from tests.phone import phones
from tests.ssh.server import sshd


@contextmanager
def here(request: pytest.FixtureRequest, folder: Path) -> Iterator[DeviceProfile]:
    """This machine, with leases of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTFARM_LEASES", str(folder / "leases"))
        yield DeviceProfile(name="here", kind="local")


@contextmanager
def ssh(request: pytest.FixtureRequest, folder: Path) -> Iterator[DeviceProfile]:
    with sshd(folder) as server:
        yield server.profile


@contextmanager
def phone(request: pytest.FixtureRequest, folder: Path) -> Iterator[DeviceProfile]:
    with phones.adb_server(), phones.phone(folder) as made:
        yield made.profile


@contextmanager
def ray_node(request: pytest.FixtureRequest, folder: Path) -> Iterator[DeviceProfile]:
    from tests.ray.nodes import ray_node as node

    with node(request, folder) as profile:
        yield profile
