"""A phone's temperatures as its thermal HAL tells them now: `dumpsys thermalservice`.

Only the block "Current temperatures from HAL" counts: the cached ones can be hours old. The global status can be
0 beside a sensor that throttles: both are told.
"""

from __future__ import annotations

import re

from quantfarm.marked import whole_lines
from quantfarm.sensors import Look
from quantfarm.sensors.reading import Reading, name_of, nothing, shown

BLOCK = "Current temperatures from HAL:"
SENSOR = re.compile(
    r"\s*Temperature\{mValue=(?P<value>[^,]{1,40}), mType=(?P<type>-?[0-9]{1,4}),"
    r" mName=(?P<name>[^,}]{0,80}), mStatus=(?P<status>[0-9]{1,4})\}\s*"
)
GLOBAL = re.compile(r"\s*Thermal Status: (?P<status>[0-9]{1,4})\s*")
#: android.os.Temperature: what is measured where. 6 to 8 are a battery's voltage, current and charge.
TYPES = {
    **{0: "cpu", 1: "gpu", 2: "battery", 3: "skin", 4: "usb", 5: "power_amplifier", 9: "npu", 10: "tpu"},
    **{11: "display", 12: "modem", 13: "soc", 14: "wifi", 15: "camera", 16: "flashlight", 17: "speaker"},
    **{18: "ambient", 19: "pogo"},
}
NO_TEMPERATURE = {6: "voltage", 7: "current", 8: "charge"}
SEVERITY = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


class AndroidThermal:
    name = "android_thermal"
    platforms = frozenset({"android"})

    def command(self) -> str:
        return "dumpsys thermalservice 2>&1"

    def parse(self, text: str) -> Look:
        """`cpu0_gold_usr_c`, `skin_…_c`, …; `thermal_status_level` is global, `sensor_status_level` the worst."""
        reading, inside, worst, sensors = Reading(), False, (0, ""), 0
        for line in whole_lines(text):
            if match := GLOBAL.fullmatch(line):
                reading.text("thermal_status_level", match["status"])
            if line.strip() == BLOCK:
                inside = True
            elif inside and (sensor := SENSOR.fullmatch(line)):
                sensors += 1
                _temperature(reading, sensor)
                worst = max(worst, (int(sensor["status"]), sensor["name"]))
            else:
                inside = False
        if not sensors:
            return nothing("temperatures", "" if BLOCK in text else text, "the thermal HAL tells none")
        reading.value("sensor_status_level", worst[0])
        if worst[0] > 0:
            severity = SEVERITY[worst[0]] if worst[0] < len(SEVERITY) else str(worst[0])
            reading.state("hottest", f"{shown(worst[1])}: {severity}")
        return reading.look()


def _temperature(reading: Reading, sensor: re.Match[str]) -> None:
    kind = int(sensor["type"])
    label, where = name_of(sensor["name"]), TYPES.get(kind, "")
    full = label if not where or label.startswith(where) else f"{where}_{label}"
    name = reading.free(full, "c")
    if kind in NO_TEMPERATURE:
        return reading.unknown(name, f"no temperature: a {NO_TEMPERATURE[kind]}")
    return reading.text(name, sensor["value"])
