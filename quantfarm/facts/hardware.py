"""What a device is made of: chip, physical cores, memory, accelerators."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from quantfarm.facts.system import keys, properties, uname
from quantfarm.marked import whole_lines
from quantfarm.sensors.reading import shown

#: Sockets, cores or cards counted; more are not believed.
MOST = 4096


def _count(text: str | None) -> int:
    match = re.match(r"\s*([0-9]{1,15})\b", text or "")
    return int(match[1]) if match else 0


def _mac(said: Mapping[str, str]) -> dict[str, str]:
    """What sysctl and system_profiler say of a Mac."""
    return keys(said.get("sysctl", ""), ":") | keys(said.get("system_profiler", ""), ":")


def chip(said: Mapping[str, str]) -> str:
    """The processor's own name, or the best name that the device has for what it is built on."""
    system, _, machine = uname(said)
    if system == "Darwin":
        mac = _mac(said)
        return shown(mac.get("machdep.cpu.brand_string") or mac.get("Chip", ""))
    info = keys(said.get("cpuinfo", ""), ":")
    if android := properties(said):
        return _android_chip(android, info)
    board = said.get("device-tree", "").strip("\0\r\n ")
    name = info.get("model name") or info.get("Model") or info.get("Hardware") or board
    return shown(name or _arm(info) or machine)


def _android_chip(android: Mapping[str, str], info: Mapping[str, str]) -> str:
    maker, model = android.get("ro.soc.manufacturer", ""), android.get("ro.soc.model", "")
    if model:
        return shown(f"{maker} {model}".strip())
    return shown(info.get("Hardware") or android.get("ro.board.platform") or android.get("ro.product.board", ""))


def _arm(info: Mapping[str, str]) -> str:
    """The codes that an ARM core has where nobody gives it a name."""
    maker, part = info.get("CPU implementer"), info.get("CPU part")
    return f"ARM core {maker}/{part}" if maker and part else ""


def cores(said: Mapping[str, str]) -> int:
    """Physical cores: threads of one core are one. By the kernel's topology, else by /proc/cpuinfo; 0: not said."""
    mac = _mac(said)
    if physical := _count(mac.get("hw.physicalcpu") or mac.get("Total Number of Cores")):
        return physical
    siblings = {
        line.strip() for line in whole_lines(said.get("topology", "")) if re.fullmatch(r"[0-9,-]+", line.strip())
    }
    return min(len(siblings) or _by_cpuinfo(said.get("cpuinfo", "")), MOST)


def _by_cpuinfo(text: str) -> int:
    """Cores of each socket where sockets are told of, else the processors there are."""
    sockets: dict[str, int] = {}
    socket, processors = "", 0
    for line in whole_lines(text):
        key, _, value = line.partition(":")
        match key.strip():
            case "processor":
                processors += 1
            case "physical id":
                socket = value.strip()
            case "cpu cores":
                sockets[socket] = _count(value)
            case _:
                pass
    return sum(sockets.values()) or processors


def memory_mib(said: Mapping[str, str]) -> int:
    total = keys(said.get("meminfo", ""), ":").get("MemTotal", "")
    if total.endswith(" kB") and (kib := _count(total)):
        return kib // 1024
    mac = _mac(said)
    if size := _count(mac.get("hw.memsize")):
        return size // 2**20
    gigabytes = re.fullmatch(r"([0-9]{1,6}) GB", mac.get("Memory", ""))
    return int(gigabytes[1]) * 1024 if gigabytes else 0


def accelerators(said: Mapping[str, str]) -> tuple[str, ...]:
    """Names of GPUs that a runtime could use: "NVIDIA A10G, 23028 MiB", "Apple M4 GPU"."""
    names = [*_nvidia(said.get("nvidia", "")), *_rocm(said.get("rocm", ""))]
    if uname(said)[0] == "Darwin" and chip(said).startswith("Apple "):
        names.append(f"{chip(said)} GPU")
    return tuple(names[:MOST])


NVIDIA = re.compile(r"(?P<name>[^,]{1,80}), (?P<mib>[0-9]{1,9}) MiB, (?P<driver>[0-9.]{1,20})")


def _nvidia(text: str) -> list[str]:
    found = [match for line in whole_lines(text) if (match := NVIDIA.fullmatch(line.strip()))]
    return [f"{shown(match['name'])}, {match['mib']} MiB" for match in found]


def nvidia_driver(said: Mapping[str, str]) -> str:
    found = (NVIDIA.fullmatch(line.strip()) for line in whole_lines(said.get("nvidia", "")))
    return next((match["driver"] for match in found if match), "")


def _rocm(text: str) -> list[str]:
    try:
        cards: Any = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(cards, dict):
        return []
    found = [cast("dict[str, Any]", c) for c in cast("dict[str, Any]", cards).values() if isinstance(c, dict)]
    names = [card.get("Card Series") or card.get("Card series") for card in found]
    return [shown(name) for name in names if isinstance(name, str)]
