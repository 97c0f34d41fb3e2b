"""RAPL: energy counters of a processor's package, cores and memory (Linux powercap; Intel and AMD).

The counters wrap at `max_energy_range_uj`, which is read with them; reading them takes root on most systems.
"""

from __future__ import annotations

import re

from quantfarm.sensors import Look, sysfs
from quantfarm.sensors.reading import Reading, name_of, nothing

FILES = ("name", "energy_uj", "max_energy_range_uj")
ZONE = re.compile(r"intel-rapl(?P<mmio>-mmio)?:(?P<top>[0-9]{1,3})(?::(?P<sub>[0-9]{1,3}))?")
ROOT_ONLY = "permission denied: the energy counters can be read by root alone here"


class Rapl:
    name = "rapl"
    platforms = frozenset({"linux"})

    def command(self) -> str:
        return sysfs.command(*sysfs.globs("/sys/class/powercap/intel-rapl*:*", FILES))

    def parse(self, text: str) -> Look:
        """`package_0_uj` with `package_0_range_uj`; parts as `package_0_core_uj`; `psys_uj`."""
        tree, reading = sysfs.tree(text, "|".join(FILES)), Reading()
        zones = {folder: match for folder in tree.folders() if (match := ZONE.fullmatch(folder))}
        plain = any(not match["mmio"] for match in zones.values())
        for folder, match in zones.items():
            if match["mmio"] and plain:
                continue  # the same counters by another way
            name = _name(tree, folder, match)
            said = tree.get(folder, "energy_uj")
            if said is None:
                why = tree.why(folder, "energy_uj")
                reading.unknown(f"{name}_uj", ROOT_ONLY if sysfs.denied(why) else why or "empty")
                continue
            reading.text(f"{name}_uj", said)
            reading.text(f"{name}_range_uj", tree.get(folder, "max_energy_range_uj"), zero=False)
        look = reading.look()
        return look if look.values or look.unknown else nothing("counters", "", "the kernel shows no RAPL zones")


def _name(tree: sysfs.Tree, folder: str, match: re.Match[str]) -> str:
    own = name_of(tree.get(folder, "name") or folder)
    if match["sub"] is None:
        return own
    parent = folder.rpartition(":")[0]
    return f"{name_of(tree.get(parent, 'name') or parent)}_{own}"
