"""Memory of a Mac: vm_stat's page counts (and those of memory_pressure, which has the same lines)."""

from __future__ import annotations

import re

from quantfarm.marked import whole_lines
from quantfarm.sensors import Look
from quantfarm.sensors.reading import Reading, nothing

PAGE = re.compile(r"page size of (?P<bytes>[0-9]{3,7})\b")
COUNT = re.compile(r"\"?(?P<what>[A-Z][A-Za-z -]{2,40}?)\"?:\s+(?P<count>[0-9]{1,18})\.?\s*")
FREE = re.compile(r"System-wide memory free percentage: (?P<pct>[0-9]{1,3})%")
PAGES = {
    **{"Pages free": "mem_free_mib", "Pages active": "mem_active_mib", "Pages inactive": "mem_inactive_mib"},
    **{"Pages wired down": "mem_wired_mib", "Pages occupied by compressor": "mem_compressor_mib"},
    **{"Pages used by compressor": "mem_compressor_mib"},
}
COUNTS = {"Swapins": "swapins_count", "Swapouts": "swapouts_count", "Pageins": "pageins_count"}
MIB = 1 / 2**20


class VmStat:
    name = "vm_stat"
    platforms = frozenset({"macos"})

    def command(self) -> str:
        return "vm_stat 2>&1"

    def parse(self, text: str) -> Look:
        """`mem_free_mib`, …; `mem_available_mib`: free and inactive, what a program can have; `swapouts_count`, …"""
        page = PAGE.search(text[:1000])
        if not page:
            return nothing("memory", text, "no page size")
        reading, bytes_each = Reading(), float(page["bytes"])
        for line in whole_lines(text):
            if count := COUNT.fullmatch(line):
                what = count["what"].strip()
                if what in PAGES:
                    reading.text(PAGES[what], count["count"], bytes_each * MIB)
                elif what in COUNTS:
                    reading.text(COUNTS[what], count["count"])
            elif share := FREE.fullmatch(line.strip()):
                reading.text("mem_free_pct", share["pct"])
        values = reading.look().values
        if "mem_free_mib" in values and "mem_inactive_mib" in values:
            reading.value("mem_available_mib", values["mem_free_mib"] + values["mem_inactive_mib"])
        look = reading.look()
        return look if look.values or look.unknown else nothing("memory", "", "no count of pages")
