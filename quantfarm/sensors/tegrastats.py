"""NVIDIA Jetson: one line of tegrastats."""

from __future__ import annotations

import re

from quantfarm.marked import whole_lines
from quantfarm.sensors import Look
from quantfarm.sensors.reading import Reading, name_of, nothing

MEMORY = re.compile(r"\bRAM (?P<used>[0-9]{1,9})/(?P<total>[0-9]{1,9})MB\b")
SWAP = re.compile(r"\bSWAP (?P<used>[0-9]{1,9})/[0-9]{1,9}MB\b")
CPUS = re.compile(r"\bCPU \[(?P<cpus>[^\]]{1,4000})\]")
CPU = re.compile(r"(?P<pct>[0-9]{1,3})%@(?P<mhz>[0-9]{1,5})")
GPU = re.compile(r"\bGR3D_FREQ (?P<pct>[0-9]{1,3})%")
HEAT = re.compile(r"(?:^|\s)(?P<name>[A-Za-z][\w.-]{0,30})@(?P<c>-?[0-9]{1,4}(?:\.[0-9]{1,4})?)C(?=\s|$)")
#: Momentary / average; older ones leave the unit out.
RAIL = re.compile(r"(?:^|\s)(?P<name>(?:VDD|VIN|POM)_\w{1,40}) (?P<mw>[0-9]{1,7})(?:mW)?/[0-9]{1,7}(?:mW)?(?=\s|$)")


class Tegrastats:
    name = "tegrastats"
    platforms = frozenset({"linux"})

    def command(self) -> str:
        # It goes on for ever: it ends on the pipe that `head` closes, or by the time.
        return "timeout 3 tegrastats --interval 200 2>&1 | head -n 1"

    def parse(self, text: str) -> Look:
        """`mem_used_mib`, `cpu_pct`, `cpu_mhz`, `gpu_pct`, `cpu_c`, `tj_c`, …, `vdd_in_w` (the whole module), …"""
        line = next((line for line in reversed(whole_lines(text)) if MEMORY.search(line)), "")
        if not line:
            return nothing("tegrastats", text, "no line of it")
        reading = Reading()
        if memory := MEMORY.search(line):
            reading.text("mem_used_mib", memory["used"])
            reading.text("mem_total_mib", memory["total"])
        if swap := SWAP.search(line):
            reading.text("swap_used_mib", swap["used"])
        if cpus := CPUS.search(line):
            on = [match for match in map(CPU.fullmatch, cpus["cpus"].split(",")) if match]  # others are `off`
            if on:
                reading.value("cpu_pct", sum(float(cpu["pct"]) for cpu in on) / len(on))
                reading.value("cpu_mhz", sum(float(cpu["mhz"]) for cpu in on) / len(on))
        if gpu := GPU.search(line):
            reading.text("gpu_pct", gpu["pct"])
        for heat in HEAT.finditer(line):
            reading.text(f"{name_of(heat['name'])}_c", heat["c"])
        for rail in RAIL.finditer(line):
            reading.text(f"{name_of(rail['name'])}_w", rail["mw"], 1e-3)
        return reading.look()
