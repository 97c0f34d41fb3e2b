"""Facts about a device: one shell text that asks, and a pure reading of the answer.

`COMMAND` is for a POSIX shell (dash, bash, mksh with toybox, zsh's sh) on Linux, macOS or Android: run it as
`sh -c COMMAND`, or give it to a shell's stdin. It needs no other program, changes nothing and ends by itself.
`parse` reads the lines: what a device does not say is left out, and nothing that it says is believed to be more
than text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from quantfarm.facts import hardware, system, tools
from quantfarm.facts.asking import COMMAND
from quantfarm.marked import sections
from quantfarm.sensors import choose

__all__ = ["COMMAND", "parse", "profile_fields"]


def parse(lines: Iterable[str]) -> dict[str, Any]:
    """Fields of DeviceProfile, as far as the device told: `platform`, `os`, `chip`, `cores` (physical),
    `memory_mib`, `accelerators`, `sensors`, `missing` (sensor -> why not).

    And one key that is no field of it, `tools`: name -> {"path", "version", …} of the programs that it has
    (`quantfarm.facts.tools`), with `storage` -> {"path", "free_mib"} for the folder that COMMAND ran in.
    """
    kept = list(lines)
    said = sections(kept)
    have, missing = choose.chosen("".join(line.rstrip("\r\n") + "\n" for line in kept))
    found: dict[str, Any] = {
        "platform": system.platform(said),
        "os": system.operating_system(said),
        "chip": hardware.chip(said),
        "cores": hardware.cores(said),
        "memory_mib": hardware.memory_mib(said),
        "accelerators": hardware.accelerators(said),
        "sensors": have,
        "missing": tuple(sorted(missing.items())),
        "tools": tools.found(said),
    }
    return {name: value for name, value in found.items() if value not in (None, "", 0)}


def profile_fields(found: Mapping[str, Any]) -> dict[str, Any]:
    """What `parse` found, less what is no field of DeviceProfile."""
    return {name: value for name, value in found.items() if name != "tools"}
