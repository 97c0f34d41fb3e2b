"""Which runtimes a device has, which it could have, and what to do for those."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents import Agent
from flows.steps import Teller
from quantfarm import planning, registration
from quantfarm.errors import FarmError, UsageError
from quantfarm.nouns import Cell, DeviceProfile, Variant, Workload
from quantfarm.registration import Needs, Presence, Python
from quantfarm.runtimes import TABLE, Runtime, runtime

LIMIT_S = 60.0
#: About: llama-cpp-python is compiled where there is no wheel for the device.
ENVIRONMENT_S = 600.0
FOLDER = "~/.cache/quantfarm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`python`: the interpreter on the device that a runtime there needs; empty where none does."""

    presences: tuple[Presence, ...]
    python: str = ""

    @property
    def runtimes(self) -> tuple[str, ...]:
        return tuple(one.runtime for one in self.presences if one.build)

    @property
    def builds(self) -> dict[str, str]:
        return {one.runtime: one.build for one in self.presences if one.build}


#: Makes an environment with packages on the device; the path of its Python.
Make = Callable[[Needs], str]


def find(
    agent: Agent, profile: DeviceProfile, variant: Variant, tools: Mapping[str, Any], make: Make | None = None
) -> Found:
    """Asks a device for each runtime of the table. `profile`: what is known of it so far; `tools` as quantfarm.facts
    gives them; `make` is asked for an environment where its Python lacks something. Raises AgentError."""
    if profile.simulated:  # it plays what a device is measured under by default
        return Found(
            presences=tuple(
                Presence(runtime=name, build=runtime(name).build() or "simulated") for name in planning.DEFAULT_RUNTIMES
            )
        )
    wanted = {name: _files(runtime(name), profile, variant) for name in TABLE}
    needed = {name: _needs(files) for name, files in wanted.items() if isinstance(files, Mapping)}
    everything = _together([one for one in needed.values() if one])
    python = ask_python(agent, python_path(profile, tools), everything)
    if make and everything.packages and registration.python_lacks(python, everything):
        python = ask_python(agent, make(everything), everything)
    presences = tuple(
        Presence(runtime=name, lacks=files)
        if isinstance(files, str)
        else _present(runtime(name), profile, needed[name], python, tools)
        for name, files in wanted.items()
    )
    uses = any(one.build and needed[one.runtime] for one in presences)
    return Found(presences=presences, python=python.path if uses and python.path != _own(profile) else "")


def environment(agent: Agent, told: Teller, stopped: Callable[[], bool]) -> Make:
    """Makes it with agents.environments, in the folder that the agent keeps files in."""

    def make(needs: Needs) -> str:
        from agents import environments  # noqa: PLC0415 - only where somebody asks

        told.step("making an environment for its Python runtimes (llama.cpp is compiled there)", ENVIRONMENT_S)
        return environments.environment(
            agent,
            [f"{name}>={least}" for name, least in needs.packages.items()],
            folder=str(getattr(agent, "folder", FOLDER)),
            python=str(dict(agent.profile.options).get("python") or ""),
            oldest=needs.python,
            stopped=stopped,
        )

    return make


def python_path(profile: DeviceProfile, tools: Mapping[str, Any]) -> str:
    """The interpreter to use: the one given, this program's own on this machine, else what the device calls python3."""
    given = str(dict(profile.options).get("python") or "")
    return given or _own(profile) or str(tools.get("python3", {}).get("path", ""))


def _own(profile: DeviceProfile) -> str:
    """The interpreter that runtimes take where none is named."""
    return sys.executable if profile.kind == "local" else ""


def ask_python(agent: Agent, path: str, needs: Needs) -> Python:
    """What an interpreter on the device has of this. Raises AgentError."""
    lines: list[str] = []
    if path:
        asks = [path, "-c", registration.ASK_PYTHON, *sorted(needs.packages)]
        agent.run(asks, on_line=lines.append, limit_s=LIMIT_S)
    return registration.read_python(path, lines)


def _together(needs: Sequence[Needs]) -> Needs:
    packages = {name: least for one in needs for name, least in one.packages.items()}
    return Needs(python=max((one.python for one in needs), key=_numbers, default=""), packages=packages)


def _files(under: Runtime, profile: DeviceProfile, variant: Variant) -> Mapping[str, Path] | str:
    """What must be on the device, or why it cannot be."""
    kind = "bench" if "bench" in under.workloads else min(under.workloads)
    cell = Cell(profile=profile, variant=variant, runtime=under.name, build="", workload=Workload(kind=kind))
    try:
        return under.files(cell)
    except (UsageError, FarmError) as error:
        return str(error)


def _needs(files: Mapping[str, Path]) -> Needs | None:
    """What a runtime's Python programs need; None where none of its programs is Python."""
    declared = [registration.needs(path) for path in files.values() if path.suffix == ".py"]
    if not declared:
        return None
    return _together(declared)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part]


def _present(
    under: Runtime, profile: DeviceProfile, needs: Needs | None, python: Python, tools: Mapping[str, Any]
) -> Presence:
    if needs and (lacks := registration.python_lacks(python, needs)):
        return Presence(runtime=under.name, lacks=lacks + _remedy(profile, tools))
    if needs and needs.packages:
        name = next(iter(needs.packages))
        return Presence(runtime=under.name, build=f"{name} {python.packages[name]}")
    build = _build(under, profile)
    return Presence(runtime=under.name, build=build, lacks="" if build else "it does not say which build it is")


def _remedy(profile: DeviceProfile, tools: Mapping[str, Any]) -> str:
    if profile.kind == "local":
        return ": install it there"
    if "uv" in tools or tools.get("python3", {}).get("venv"):
        return ": `--environment` makes one for it there, `--python` names another one"
    return ": `--python` names one"


def _build(under: Runtime, profile: DeviceProfile) -> str:
    """A static build is named for what it was compiled for; what runs on this machine names itself."""
    if profile.kind != "local" and profile.platform:
        from quantfarm.toolchain import cross  # noqa: PLC0415 - needs llama-cpp-python

        if build := cross.builds_for(profile.platform).get(under.name):
            return build
    return under.build()
