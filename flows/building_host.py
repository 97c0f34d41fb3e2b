"""Where variants are made: on this machine, or on a device that a sweep names (`build_on`: its name or a tag).

On a device: the runner, the model, the calibration text and the importance matrix go there by digest, the Python
environment is made there, the runner is run through the agent, and what it made is brought back, checked by its
digests. What was made lies in a folder of the device that is emptied before and after, so that whatever was cut off
leaves nothing that would pass for whole. The caller holds the device's lease.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from agents import Agent, AgentError, agent
from flows import devices, environments
from flows.building_python import python
from flows.making_steps import MakeError, never, run_step
from flows.pushing import Told
from quantfarm import builds, profiles
from quantfarm.errors import UsageError, unknown
from quantfarm.nouns import DeviceProfile, Recipe
from quantfarm.quantizers import Quantizer
from quantfarm.runtimes import events
from quantfarm.sweeps import Sweep
from storage.hashes import Hashes
from storage.home import Home

#: Agents that reach a machine on which Python may run: a phone's shell has none.
KINDS = ("local", "ssh", "ray")
#: A file of a made folder: what has another name is none of ours.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ASK_S = 120.0


def host(home: Home, sweep: Sweep) -> Agent:
    """The agent of the machine that makes a sweep's variants. Raises UsageError for one that cannot."""
    known = devices.known(home)
    if not sweep.build_on:
        return agent(known[devices.LOCAL])
    return agent(chosen(home, known, sweep.build_on))


def chosen(home: Home, known: Mapping[str, DeviceProfile], name: str) -> DeviceProfile:
    """The device of this name, or the first with this tag that can. Raises UsageError that says why none can."""
    tags = {tag for profile in known.values() if not profile.template for tag in profile.tags}
    if name not in known and name not in tags:
        names = {profile.name for profile in known.values() if not profile.template}
        raise unknown("device or tag", name, names | tags, "build_on")
    found = profiles.choose(known, [name] if name in known else [], [] if name in known else [name])
    why = {profile.name: obstacle(profile) or devices.unfit(home, profile) for profile in found}
    able = [profile for profile in found if not why[profile.name]]
    if not able:
        reasons = "; ".join(f"{device}: {reason}" for device, reason in why.items())
        raise UsageError(f"no variant can be made on '{name}' (build_on): {reasons}")
    return able[0]


def obstacle(profile: DeviceProfile) -> str:
    """Why nothing can be made on a device, as far as its profile says; empty when it may do."""
    if profile.simulated:
        return "it is simulated: what it made would not be real"
    if profile.kind not in KINDS:
        return f"there is no Python on a device of kind {profile.kind}, which every quantizer needs"
    return ""


def make(
    home: Home,
    on: Agent,
    made_by: Quantizer,
    recipe: Recipe,
    files: Mapping[str, Path],
    out: Path,
    what: str,
    stopped: Callable[[], bool] = never,
) -> Mapping[str, Any]:
    """Makes `out` (here) of `files` (here), by a quantizer's names; what is to be known of it, as its `parse` says.

    `what`: the step, for a person. Raises MakeError, AgentError, Stopped.
    """
    if on.profile.kind == "local":
        paths = {name: str(path) for name, path in files.items()}
        if python := environments.python(made_by):
            paths["python"] = str(python)
        trace = run_step(on, made_by.command(recipe, paths, str(out)), events.parse, what, stopped)
        return made_by.parse(trace)
    return _there(home, on, made_by, recipe, files, out, f"{what} on {on.profile.name}", stopped)


def _there(
    home: Home,
    on: Agent,
    made_by: Quantizer,
    recipe: Recipe,
    files: Mapping[str, Path],
    out: Path,
    what: str,
    stopped: Callable[[], bool],
) -> Mapping[str, Any]:
    if why := obstacle(on.profile):
        raise MakeError(f"{what}: {why}")
    hashes = Hashes(home)
    paths = {"python": python(on, made_by, recipe, stopped)}
    for name, file in {**files, **made_by.files()}.items():
        paths[name] = on.push(file, hashes.sha256(file), Told(on.profile.name, file))
    folder = str(PurePosixPath(paths["runner"]).parents[2] / "made")  # FOLDER/files/SHA256/NAME
    _ask(on, ["sh", "-c", 'rm -rf "$1" && mkdir -p "$1"', "sh", folder], what)
    place = f"{folder}/{recipe.id}{'' if made_by.folder else '.gguf'}"
    try:
        trace = run_step(on, made_by.command(recipe, paths, place), events.parse, what, stopped)
        if another := builds.another(recipe.tool, trace.first("begin").get("versions")):
            raise MakeError(f"{what}: {another}: set its option `python` to one that has it, or leave it out")
        _bring(on, place, out, made_by.folder, what)
    finally:
        with contextlib.suppress(AgentError):
            on.run(["rm", "-rf", folder], on_line=_nobody, limit_s=ASK_S)
    made = made_by.parse(trace)
    return {**made, "facts": {**made["facts"], "made_on": on.profile.name}}


def _nobody(line: str) -> None:
    del line


def _ask(on: Agent, command: Sequence[str], what: str) -> list[str]:
    """What a small command says. Raises MakeError."""
    lines: list[str] = []
    left = on.run(command, on_line=lines.append, limit_s=ASK_S)
    if left.code or left.reason:
        said = left.stderr.strip().splitlines()[-1:] or [f"exit status {left.code}"]
        raise MakeError(f"{what}: {left.reason or said[0]}")
    return [line.rstrip("\n") for line in lines]


def _bring(on: Agent, place: str, out: Path, folder: bool, what: str) -> None:
    """The file, or each file of the folder, each checked by its digest on the way."""
    if not folder:
        on.pull(place, out)
        return
    out.mkdir()
    for name in _ask(on, ["ls", "-A", place], what):
        if not NAME.fullmatch(name):
            raise MakeError(f"{what}: it made a file that is called {name!r}, and no part of a model is")
        on.pull(f"{place}/{name}", out / name)
