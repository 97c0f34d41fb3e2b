"""Which runtimes a device has, which it could have, and what to do for those."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents import Agent
from flows.steps import Teller
from quantfarm import planning, registration
from quantfarm.errors import FarmError, UsageError
from quantfarm.nouns import Cell, DeviceProfile, Variant, Workload
from quantfarm.registration import Needs, Presence, Python
from quantfarm.runtimes import TABLE, Runtime, runtime
from quantfarm.toolchain import environments
from quantfarm.toolchain.conversion import requirements

LIMIT_S = 60.0
#: About: llama-cpp-python is compiled where there is no wheel for the device.
ENVIRONMENT_S = 600.0
FOLDER = "~/.cache/quantfarm"


#: Runtimes with an environment of their own -> whether a device is what they are for. What it is not for is made
#: only by hand: PyTorch is a gigabyte.
WORTH: Mapping[str, Callable[[DeviceProfile], bool]] = {
    "mlx": lambda profile: profile.platform == "macos-arm64",
    "transformers": lambda profile: any("NVIDIA" in name for name in profile.accelerators),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`options`: the interpreters on the device that its runtimes need, by the profile's options: `python`, and
    `python_RUNTIME` of one that has its own."""

    presences: tuple[Presence, ...]
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def runtimes(self) -> tuple[str, ...]:
        return tuple(one.runtime for one in self.presences if one.build)

    @property
    def builds(self) -> dict[str, str]:
        return {one.runtime: one.build for one in self.presences if one.build}


#: Makes an environment for a runtime on the device; the path of its Python.
Make = Callable[[Runtime, Needs], str]


def find(
    agent: Agent, profile: DeviceProfile, variant: Variant, tools: Mapping[str, Any], make: Make | None = None
) -> Found:
    """Asks a device for each runtime of the table. `profile`: what is known of it so far; `tools` as quantfarm.facts
    gives them; `make` is asked for an environment where a Python lacks something. Raises AgentError."""
    if profile.simulated:  # it plays what a device is measured under by default
        return Found(
            presences=tuple(
                Presence(runtime=name, build=runtime(name).build() or "simulated") for name in planning.DEFAULT_RUNTIMES
            )
        )
    wanted = {name: _files(runtime(name), profile, variant) for name in TABLE}
    presences: list[Presence] = []
    options: dict[str, str] = {}
    for name, files in wanted.items():
        under = runtime(name)
        if isinstance(files, str):
            presences.append(Presence(runtime=name, lacks=files))
            continue
        needs, python = _needs(files), Python(path="")
        if needs:
            python = _python(agent, under, profile, tools, needs, make)
        presences.append(_present(under, profile, needs, python, tools))
        if needs and presences[-1].build and python.path != _own(profile, under):
            options[f"python_{name}" if under.environment else "python"] = python.path
    return Found(presences=tuple(presences), options=options)


def _python(
    agent: Agent, under: Runtime, profile: DeviceProfile, tools: Mapping[str, Any], needs: Needs, make: Make | None
) -> Python:
    """The interpreter of a runtime on the device; made where it lacks something and may be."""
    python = ask_python(agent, python_path(profile, tools, under), needs)
    worth = not under.environment or WORTH.get(under.environment, lambda _: False)(profile)
    if make and worth and needs.packages and registration.python_lacks(python, needs):
        python = ask_python(agent, make(under, needs), needs)
    return python


def environment(agent: Agent, told: Teller, stopped: Callable[[], bool]) -> Make:
    """Makes it with agents.environments, in the folder that the agent keeps files in."""

    def make(under: Runtime, needs: Needs) -> str:
        from agents import environments as there  # noqa: PLC0415 - only where somebody asks

        what = "an environment" if under.environment else "an environment (llama.cpp is compiled there)"
        told.step(f"making {what} for {under.name}", ENVIRONMENT_S)
        return there.environment(
            agent,
            needs.requirements,
            folder=str(getattr(agent, "folder", FOLDER)),
            python=str(dict(agent.profile.options).get("python") or ""),
            oldest=needs.python,
            stopped=stopped,
        )

    return make


def python_path(profile: DeviceProfile, tools: Mapping[str, Any], under: Runtime) -> str:
    """The interpreter to use: the one given for this runtime, the one given, this program's own on this machine
    (of a runtime with an environment: that one), else what the device calls python3."""
    options = dict(profile.options)
    given = str(options.get(f"python_{under.name}") or "")
    if under.environment and profile.kind == "local":
        return given or _own(profile, under)
    given = given or str(options.get("python") or "")
    return given or _own(profile, under) or str(tools.get("python3", {}).get("path", ""))


def _own(profile: DeviceProfile, under: Runtime) -> str:
    """The interpreter that a runtime takes where none is named; empty where there is none."""
    if profile.kind != "local":
        return ""
    if not under.environment:
        return sys.executable
    made = environments.made(under.environment, requirements(under.runner))
    return str(environments.python_of(made)) if made else ""


def ask_python(agent: Agent, path: str, needs: Needs) -> Python:
    """What an interpreter on the device has of this. Raises AgentError."""
    lines: list[str] = []
    if path:
        asks = [path, "-c", registration.ASK_PYTHON, *sorted(needs.packages)]
        agent.run(asks, on_line=lines.append, limit_s=LIMIT_S)
    return registration.read_python(path, lines)


def _together(needs: Sequence[Needs]) -> Needs:
    packages = {name: least for one in needs for name, least in one.packages.items()}
    lines = tuple(dict.fromkeys(line for one in needs for line in one.requirements))
    python = max((one.python for one in needs), key=_numbers, default="")
    return Needs(python=python, packages=packages, requirements=lines)


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
        return Presence(runtime=under.name, lacks=lacks + _remedy(profile, tools, under))
    if needs and needs.packages:
        name = str(getattr(under, "package", "")) or next(iter(needs.packages))
        return Presence(runtime=under.name, build=f"{name} {python.packages[name]}")
    build = _build(under, profile)
    return Presence(runtime=under.name, build=build, lacks="" if build else "it does not say which build it is")


def _remedy(profile: DeviceProfile, tools: Mapping[str, Any], under: Runtime) -> str:
    if under.environment:
        by_hand = f"`--option python_{under.name}=PATH` names one"
        if profile.kind == "local":
            return f": a sweep on `local` makes its environment, or {by_hand}"
        return f": `--environment` makes one, {by_hand}" if WORTH[under.environment](profile) else f": {by_hand}"
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
