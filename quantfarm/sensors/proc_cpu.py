"""What all processors did since boot, and the load: /proc/stat and /proc/loadavg."""

from __future__ import annotations

import re

from quantfarm.marked import whole_lines
from quantfarm.sensors import Look
from quantfarm.sensors.reading import Reading, nothing

TICK_MS = 10.0  # USER_HZ is 100 on every Linux that a program can see
CPU = re.compile(r"cpu +(?P<ticks>[0-9]{1,18}(?: [0-9]{1,18}){7,9})")
RUNNING = re.compile(r"procs_running (?P<count>[0-9]{1,9})")
LOAD = re.compile(r"(?P<load>[0-9]{1,6}\.[0-9]{1,2}) [0-9.]+ [0-9.]+ [0-9]+/[0-9]+ [0-9]+")


class ProcCpu:
    name = "proc_cpu"
    platforms = frozenset({"linux", "android"})

    def command(self) -> str:
        return r"grep -hE '^(cpu |procs_running |[0-9]+\.[0-9]+ )' /proc/stat /proc/loadavg 2>&1"

    def parse(self, text: str) -> Look:
        """Times since boot: two looks apart give the share. Stolen time is what a virtual machine's host took."""
        reading = Reading()
        for line in whole_lines(text):
            if cpu := CPU.fullmatch(line):
                ticks = [float(tick) * TICK_MS for tick in cpu["ticks"].split()]
                user, nice, system, idle, iowait, irq, softirq, steal = ticks[:8]
                reading.value("cpu_busy_ms", user + nice + system + irq + softirq)
                reading.value("cpu_idle_ms", idle + iowait)
                reading.value("cpu_stolen_ms", steal)
            elif running := RUNNING.fullmatch(line):
                reading.text("running_count", running["count"])
            elif load := LOAD.fullmatch(line):
                reading.text("load_1min", load["load"])
        look = reading.look()
        return look if look.values else nothing("cpu", text, "no figure of /proc/stat or /proc/loadavg")
