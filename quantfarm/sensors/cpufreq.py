"""Clocks of the processors, one for each group of cores that share theirs (Linux cpufreq policies)."""

from __future__ import annotations

from quantfarm.sensors import Look, sysfs
from quantfarm.sensors.reading import Reading, nothing, number

FILES = ("affected_cpus", "scaling_max_freq", "scaling_cur_freq")
FOLDER = "/sys/devices/system/cpu/cpufreq/policy*"
KHZ = 1e-3


class CpuFreq:
    name = "cpufreq"
    platforms = frozenset({"linux", "android"})

    def command(self) -> str:
        return sysfs.command(*sysfs.globs(FOLDER, FILES))

    def parse(self, text: str) -> Look:
        """`policy4_mhz`, `policy4_limit_mhz` (what heat or a setting allows now), `cpu_mhz` (mean over cores)."""
        tree, reading = sysfs.tree(text, "|".join(FILES)), Reading()
        cores, clocks = 0, 0.0
        for folder in tree.folders():
            if not folder.startswith("policy") or not folder[6:].isdecimal():
                continue
            reading.text(f"{folder}_limit_mhz", tree.get(folder, "scaling_max_freq"), KHZ)
            khz = tree.get(folder, "scaling_cur_freq")
            if khz is None:
                reading.unknown(f"{folder}_mhz", tree.why(folder, "scaling_cur_freq") or "empty")
                continue
            reading.text(f"{folder}_mhz", khz, KHZ)
            if f"{folder}_mhz" in reading:
                n = max(1, len((tree.get(folder, "affected_cpus") or "").split()))
                cores, clocks = cores + n, clocks + n * KHZ * (number(khz) or 0.0)
        if cores:
            reading.value("cpu_mhz", clocks / cores)
        look = reading.look()
        return (
            look if look.values or look.unknown else nothing("cpu_mhz", "", "the kernel shows no clocks (no cpufreq)")
        )
