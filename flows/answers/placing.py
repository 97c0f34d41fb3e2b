"""What a run needs, brought to the device that it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agents import Agent
from flows import environments
from flows.answers.preparing import Asked
from flows.pushing import Told
from quantfarm.runtimes import runtime
from storage.artifacts import Artifacts
from storage.home import Home


def placed(home: Home, device: Agent, one: Asked, more: Mapping[str, Path]) -> dict[str, str]:
    """The model, its runtime's own files and these, present on the device; their paths there. Raises FarmError."""
    under, cell = runtime(one.cell.runtime), one.cell
    files: dict[str, Path] = {**under.files(cell), **Artifacts(home).files(one.artifact), **more}
    there = {
        name: device.push(file, one.artifact.sha256 if name == "model" else "", Told(device.profile.name, file))
        for name, file in files.items()
    }
    options = dict(cell.profile.options)
    python = options.get(f"python_{under.name}") or options.get("python")
    if not python and under.environment and cell.profile.kind == "local":
        python = environments.python(under)
    return there | ({"python": str(python)} if python else {})
