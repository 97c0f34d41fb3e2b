"""One night of a series: the value that stands for it, and under what it was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

#: What a build of a runtime brings with it, beside its name.
WITH_BUILD = frozenset({"build", "versions", "features", "library", "backend", "settings"})
#: What says that another file was measured.
WITH_ARTIFACT = frozenset({"artifact", "recipe"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """`value`: the median over the `n` launches of the night, in `unit`. `cells`: what was measured, launch by launch.

    Points with equal `attributes` may be compared.
    """

    night: str
    value: float
    unit: str = ""
    n: int = 1
    cells: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    simulated: bool = False

    @property
    def build(self) -> str:
        return self.attributes.get("build", "")

    @property
    def cell(self) -> str:
        """One of its cells, to look up."""
        return self.cells[0] if self.cells else ""


def attributes(
    *,
    chip: str,
    build: str,
    recipe: str,
    artifact: str,
    parameters: Mapping[str, Any],
    conditions: Mapping[str, Any],
) -> dict[str, str]:
    """What must be equal for values to be compared. What changes from run to run (load, free memory, temperature,
    battery, screen, clocks) and the farm's own version are no part of it."""
    system, _, features = str(conditions.get("system") or "").partition(" | ")
    found: dict[str, Any] = {
        "chip": chip,
        "build": build,
        "artifact": artifact,
        "recipe": "" if artifact else recipe,  # the same file may be made by a newer tool
        "parameters": _words(parameters),
        "os": conditions.get("os"),
        "system": system,
        "features": features,
        "backend": conditions.get("backend"),
        "versions": _words(conditions.get("versions")),
        "library": conditions.get("library_sha256"),
        "settings": _words(_in_effect(conditions.get("settings"), parameters)),
        "governor": conditions.get("governor"),
        "on_mains": conditions.get("on_mains"),
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _in_effect(settings: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that the runtime chose itself: those asked for are parameters."""
    return {name: value for name, value in _mapping(settings).items() if name not in parameters}


def _words(values: Any) -> str:
    """`n_batch=2048, threads=4`: sorted, so that equal ones read equal."""
    pairs = sorted(_mapping(values).items())
    return ", ".join(f"{name}={_plain(value)}" for name, value in pairs if value is not None)


def _mapping(given: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else {}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
