"""Devices that are within reach and not registered yet: phones at the adb client, nodes of the Ray cluster."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from flows import devices
from quantfarm.errors import FarmError
from storage.home import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """`state`: empty where it can be used, else what is in the way."""

    url: str
    what: str
    state: str = ""

    @property
    def suggested(self) -> str:
        """A name for it."""
        text = self.what or self.url.partition("://")[2]
        return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64] or "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """`notes`: sources that could not be asked, and why."""

    seen: tuple[Seen, ...]
    notes: tuple[str, ...]


def discover(home: Home) -> Discovered:
    """Everything that SOURCES see, less what is registered. A source that is not there is a note."""
    there = {f"{one.kind}://{one.address}" for one in devices.known(home).values() if not one.template}
    seen: list[Seen] = []
    notes: list[str] = []
    for name, look in SOURCES.items():
        try:
            seen += [one for one in look() if one.url not in there]
        except (FarmError, ImportError) as error:
            notes.append(f"{name}: {error}")
    return Discovered(seen=tuple(seen), notes=tuple(notes))


def _phones() -> list[Seen]:
    from agents import adb  # noqa: PLC0415 - only where somebody asks

    found = adb.discover()
    return [
        Seen(url=f"adb://{serial}", what=model, state="" if state == "device" else state)
        for serial, model, state in found
    ]


def _nodes() -> list[Seen]:
    from agents import ray_cluster, ray_node  # noqa: PLC0415 - Ray is an extra

    if ray_cluster.known() is None:
        raise FarmError("this machine is on no Ray cluster (`quantfarm agent start --head`)")
    return [Seen(url=f"ray://{name}", what=name) for name, _, _ in ray_node.discover()]


SOURCES: dict[str, Callable[[], list[Seen]]] = {"adb": _phones, "ray": _nodes}
