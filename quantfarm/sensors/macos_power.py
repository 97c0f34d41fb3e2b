"""What a Mac is fed from, and the limits that heat has set: `pmset -g batt` and `pmset -g therm`."""

from __future__ import annotations

import re

from quantfarm.marked import whole_lines
from quantfarm.sensors import Look, battery
from quantfarm.sensors.reading import Reading, nothing

SOURCE = re.compile(r"Now drawing from '(?P<source>[^']{1,40})'")
BATTERY = re.compile(r"\s*-[^\t]{1,80}\t(?P<pct>[0-9]{1,3})%; (?P<status>[^;]{1,40});.*")
LIMIT = re.compile(r"\s*CPU_Speed_Limit\s*=\s*(?P<pct>[0-9]{1,3})\s*")
STATUSES = {"charged": battery.FULL, "finishing charge": battery.CHARGING, "AC attached": battery.NOT_CHARGING}


class MacosPower:
    name = "macos_power"
    platforms = frozenset({"macos"})

    def command(self) -> str:
        return "pmset -g batt 2>&1; pmset -g therm 2>&1"

    def parse(self, text: str) -> Look:
        """`plugged_flag`, `battery_pct`, `battery_discharging_flag`, `cpu_speed_limit_pct` (100: none)."""
        reading, plugged, lines = Reading(), None, whole_lines(text)
        for line in lines:
            if source := SOURCE.fullmatch(line.strip()):
                plugged = source["source"] == "AC Power"
                reading.flag("plugged_flag", plugged)
            elif limit := LIMIT.fullmatch(line):
                reading.text("cpu_speed_limit_pct", limit["pct"])
        own = next((match for match in map(BATTERY.fullmatch, lines) if match), None)
        if own:
            battery.describe(reading, STATUSES.get(own["status"], own["status"].lower()), None)
            reading.text("battery_pct", own["pct"])
        if "No thermal warning level" in text:
            reading.state("thermal_warning", "none recorded")
        look = reading.look()
        return look if look.values or look.states else nothing("power", text, "no answer of pmset")
