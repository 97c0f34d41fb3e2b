"""What registration finds out about a device, and the profile it writes. Touches nothing."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
VERSION = re.compile(r"[0-9][0-9A-Za-z.+!-]{0,39}")
#: PEP 723: what a program needs, declared in its own file.
BLOCK = re.compile(r"(?m)^# /// script\s*$\n(?P<body>(?:^#.*$\n)+?)^# ///\s*$")
AT_LEAST = re.compile(r"\s*(?P<name>[A-Za-z0-9._-]+)?\s*>=\s*(?P<version>[0-9.]+)\s*")
#: A version that environments are made with; a device may have another (a PyTorch for its own CUDA).
EXACTLY = re.compile(r"\s*(?P<name>[A-Za-z0-9._-]+)\s*==\s*[0-9.]+\s*")

#: For a device's Python: prints one JSON line. Old Pythons must understand it too.
ASK_PYTHON = """
import json, sys
found = {}
try:
    from importlib import metadata
except ImportError:
    metadata = None
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except Exception:
        found[name] = ""
print(json.dumps({"python": ".".join(map(str, sys.version_info[:3])), "packages": found}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Of a runner: the least Python, and packages with their least versions (empty: any).

    `requirements`: all that it declares, as written, those of one platform alone among them.
    """

    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict[str, str])
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """A runtime on a device: `build` where it is there, else what it lacks and what to do."""

    runtime: str
    build: str = ""
    lacks: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """A device's interpreter: its version and those of the packages asked for (empty: not there)."""

    path: str
    version: str = ""
    packages: Mapping[str, str] = field(default_factory=dict[str, str])


def check_name(name: str, taken: Mapping[str, str]) -> None:
    """`taken`: names that must not be used -> what has them. Raises UsageError."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' is no name for a device: up to 64 of a to z, 0 to 9 and '-', not beginning with '-'"
        )
    if name in taken:
        raise UsageError(f"'{name}' is {taken[name]}: give your device another name")


def needs(program: Path) -> Needs:
    """What a Python program of ours declares. Raises UsageError where that is damaged."""
    found = BLOCK.search(program.read_text("utf-8"))
    if not found:
        return Needs()
    body = "\n".join(line.removeprefix("#").removeprefix(" ") for line in found["body"].splitlines())
    try:
        declared = tomllib.loads(body)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{program}: its requirements cannot be read: {error}") from error
    python = AT_LEAST.fullmatch(str(declared.get("requires-python", "")))
    lines = tuple(str(one) for one in declared.get("dependencies", []))
    least = [match for one in lines if (match := AT_LEAST.fullmatch(one)) and match["name"]]
    packages = {match["name"]: "" for one in lines if (match := EXACTLY.fullmatch(one))}
    packages |= {match["name"]: match["version"] for match in least}
    return Needs(python=python["version"] if python else "", packages=packages, requirements=lines)


def read_python(path: str, lines: Iterable[str]) -> Python:
    """What ASK_PYTHON said; a Python without a version where it said nothing that can be."""
    for line in lines:
        try:
            said = json.loads(line[:65536])
            version, packages = said["python"], cast("dict[str, Any]", said["packages"])
            if not VERSION.fullmatch(version):
                continue
            known = {str(name): str(value) for name, value in packages.items() if VERSION.fullmatch(str(value))}
            return Python(path=path, version=version, packages=known)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return Python(path=path)


def python_lacks(there: Python, wanted: Needs) -> str:
    """Why a Python cannot run what needs this; empty when it can."""
    if not there.version:
        return f"no Python at {there.path}" if there.path else "no Python"
    if not at_least(there.version, wanted.python):
        return f"{there.path} is Python {there.version}, it needs {wanted.python}"
    for name, least in wanted.packages.items():
        have = there.packages.get(name, "")
        if not have:
            return f"{there.path} has no {name}"
        if not at_least(have, least):
            return f"{there.path} has {name} {have}, it needs {least}"
    return ""


def at_least(version: str, least: str) -> bool:
    return _numbers(version) >= _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,9}", version.partition("+")[0])[:4])


def readiness(found: Sequence[Presence], workloads: Mapping[str, Iterable[str]]) -> list[str]:
    """`ready for: llama_cpp (bench, app, quality)`, then a line for each runtime that is not there.

    `workloads`: what each runtime measures.
    """
    order = ("bench", "app", "quality")
    ready = [
        f"{one.runtime} ({', '.join(kind for kind in order if kind in workloads[one.runtime])})"
        for one in found
        if one.build
    ]
    missing = [f"not for {one.runtime}: {one.lacks}" for one in found if not one.build]
    return [f"ready for: {', '.join(ready)}" if ready else "ready for nothing yet", *missing]


#: Key of a profile -> the comment above it.
COMMENTS = {
    "kind": "How it is reached.",
    "platform": "What it is, as it said itself.",
    "sensors": "Sensors that gave a value, and why others did not.",
    "runtimes": "What can measure on it, and the build of each: a new build is a new question.",
    "idle": "What its sensors read at rest: measurements begin when it is as cool again.",
    "limits": "What it must not exceed (memory_mib, temperature_c): yours to set.",
    "tags": "Sweeps may name a device by its tags.",
    "options": "The agent's own settings.",
}
ORDER = (
    *("kind", "address", "simulated", "platform", "os", "chip", "cores", "memory_mib", "accelerators"),
    *("sensors", "missing", "runtimes", "builds", "idle", "limits", "targets", "tags", "options"),
)
MAPPINGS = ("missing", "builds", "targets", "options")


def profile_text(profile: DeviceProfile, heading: str) -> str:
    """The YAML of a profile: comments, and every key that says something; the file's name gives the name."""
    default = DeviceProfile(name=profile.name)
    lines = [f"# {line}" for line in heading.splitlines()]
    for key in ORDER:
        value = getattr(profile, key)
        if value != getattr(default, key) or key == "kind":
            if key in COMMENTS:
                lines += ["", f"# {COMMENTS[key]}"]
            lines.append(_yaml(key, value))
    return "\n".join(lines) + "\n"


def _yaml(key: str, value: Any) -> str:
    if key in MAPPINGS:
        value = dict(value)
    elif key in ("idle", "limits"):
        value = {name: part for name, part in asdict(value).items() if part not in (None, "")}
    elif isinstance(value, tuple):
        value = list(cast("tuple[Any, ...]", value))
    return yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=110).rstrip("\n")
