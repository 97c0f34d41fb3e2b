"""Apple Silicon by macmon (no root needed): power, temperatures, clocks, memory as one line of JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, cast

from quantfarm.marked import whole_lines
from quantfarm.sensors import Look
from quantfarm.sensors.reading import Reading, nothing

MIB = 1 / 2**20
#: (group, what it says) -> (our name, factor). `sys_power` is the whole Mac's.
FIGURES = {
    ("temp", "cpu_temp_avg"): ("cpu_c", 1.0),
    ("temp", "gpu_temp_avg"): ("gpu_c", 1.0),
    ("memory", "ram_total"): ("mem_total_mib", MIB),
    ("memory", "ram_usage"): ("mem_used_mib", MIB),
    ("memory", "swap_usage"): ("swap_used_mib", MIB),
    ("", "cpu_power"): ("cpu_w", 1.0),
    ("", "gpu_power"): ("gpu_w", 1.0),
    ("", "ane_power"): ("ane_w", 1.0),
    ("", "ram_power"): ("ram_w", 1.0),
    ("", "all_power"): ("package_w", 1.0),
    ("", "sys_power"): ("system_w", 1.0),
}
#: What it says -> ours: a pair of clock (MHz) and share of time in use (0 to 1).
USES = {"ecpu_usage": "ecpu", "pcpu_usage": "pcpu", "gpu_usage": "gpu"}


class Macmon:
    name = "macmon"
    platforms = frozenset({"macos"})

    def command(self) -> str:
        return "macmon pipe -s 1 -i 200 2>&1"

    def parse(self, text: str) -> Look:
        """`cpu_c`, `gpu_c`, `cpu_w`, `gpu_w`, `package_w`, `system_w`, `pcpu_mhz`, `gpu_mhz`, `gpu_pct`, …"""
        said = _last(text)
        if said is None:
            return nothing("macmon", text, "no line of JSON")
        reading = Reading()
        for (group, key), (name, scale) in FIGURES.items():
            _value(reading, name, _mapping(said.get(group)).get(key) if group else said.get(key), scale)
        for key, name in USES.items():
            match said.get(key):
                case [mhz, share]:
                    _value(reading, f"{name}_mhz", mhz, 1.0)
                    _value(reading, f"{name}_pct", share, 100.0)
                case _:
                    pass
        look = reading.look()
        return look if look.values or look.unknown else nothing("macmon", "", "its JSON has no figure that we know")


def _last(text: str) -> Mapping[str, Any] | None:
    for line in reversed(whole_lines(text)):
        try:
            said: Any = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(said, dict):
            return cast("dict[str, Any]", said)
    return None


def _mapping(thing: Any) -> Mapping[str, Any]:
    return cast("dict[str, Any]", thing) if isinstance(thing, dict) else {}


def _value(reading: Reading, name: str, value: Any, scale: float) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool) and -1e18 < value < 1e18:
        reading.value(name, value * scale)
    elif value is not None:
        why = "reads a number that is none" if isinstance(value, float) and not math.isfinite(value) else "no number"
        reading.unknown(name, why)
