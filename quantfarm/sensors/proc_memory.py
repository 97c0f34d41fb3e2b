"""Memory of the whole device as Linux shows it in /proc/meminfo."""

from __future__ import annotations

import re

from quantfarm.marked import whole_lines
from quantfarm.sensors import Look
from quantfarm.sensors.reading import Reading, nothing

KIB = 1 / 1024
NAMES = {"MemTotal": "mem_total_mib", "MemAvailable": "mem_available_mib", "MemFree": "mem_free_mib"}
SWAP = ("SwapTotal", "SwapFree")
LINE = re.compile(r"(?P<key>\w+):\s+(?P<kib>[0-9]{1,18}) kB")


class ProcMemory:
    name = "proc_memory"
    platforms = frozenset({"linux", "android"})

    def command(self) -> str:
        return f"grep -E '^({'|'.join([*NAMES, *SWAP])}):' /proc/meminfo 2>&1"

    def parse(self, text: str) -> Look:
        found = [m for line in whole_lines(text) if (m := LINE.fullmatch(line.strip()))]
        kib = {m["key"]: float(m["kib"]) for m in reversed(found)}
        reading = Reading()
        for key, name in NAMES.items():
            if key in kib:
                reading.value(name, kib[key] * KIB)
        if all(key in kib for key in SWAP):
            reading.value("swap_used_mib", (kib["SwapTotal"] - kib["SwapFree"]) * KIB)
        look = reading.look()
        return look if look.values else nothing("memory", text, "no figure of /proc/meminfo")
