"""The programs that a device has: what it could run, and what we can rely on there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from quantfarm.facts.asking import PACKAGES, PROGRAMS
from quantfarm.facts.hardware import nvidia_driver
from quantfarm.marked import whole_lines
from quantfarm.sensors.reading import shown

VERSION = re.compile(r"[0-9][\w.+!-]{0,40}")
#: `Filesystem 1024-blocks Used Available Capacity Mounted on`
DF = re.compile(r".*?\s[0-9]+\s+-?[0-9]+\s+(?P<free_kib>[0-9]{1,18})\s+[0-9-]+%?\s+/.*")


def found(said: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Program -> {"path": where, "version": … if known}.

    `python3` has also "venv" (whether it can make environments) and "packages" (name -> version), and `storage`
    is {"path": the folder that was asked in, "free_mib": room there}. Paths are text from the device: quote them.
    """
    tools: dict[str, dict[str, Any]] = {}
    for line in whole_lines(said.get("programs", "")):
        name, _, path = line.partition(" ")
        # A builtin has no path, an alias no path to trust.
        if name in PROGRAMS and path.startswith("/") and path.isprintable():
            tools[name] = {"path": path}
    if "python3" in tools:
        tools["python3"] |= _python(said.get("python", ""))
    if "uv" in tools and (version := VERSION.search(said.get("uv", ""))):
        tools["uv"]["version"] = version[0]
    if "nvidia-smi" in tools and (driver := nvidia_driver(said)):
        tools["nvidia-smi"]["version"] = driver
    return tools | _storage(said.get("storage", ""))


def _python(text: str) -> dict[str, Any]:
    words = [line.split() for line in whole_lines(text)]
    facts: dict[str, Any] = {"packages": {}}
    for word in words:
        match word:
            case ["python", version, *_] if VERSION.fullmatch(version):
                facts.setdefault("version", version)
            case ["venv", answer]:
                facts.setdefault("venv", answer == "yes")
            case ["package", name, version] if name in PACKAGES and VERSION.fullmatch(version):
                facts["packages"][name] = version
            case _:
                pass
    return facts


def _storage(text: str) -> dict[str, dict[str, Any]]:
    lines = whole_lines(text)
    free = next((int(match["free_kib"]) // 1024 for line in lines[1:] if (match := DF.fullmatch(line))), None)
    if not lines or free is None:
        return {}
    return {"storage": {"path": shown(lines[0]), "free_mib": free}}
