"""A phone's battery: `dumpsys battery`, with current and voltage from the kernel where a shell may read them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from quantfarm.marked import whole_lines
from quantfarm.sensors import Look, battery, sysfs
from quantfarm.sensors.reading import Reading, nothing, number

FILES = ("type", "current_now", "voltage_now")
#: `android.os.BatteryManager`'s numbers.
STATUS = {"2": battery.CHARGING, "3": battery.DISCHARGING, "4": battery.NOT_CHARGING, "5": battery.FULL}
PLUGS = ("AC powered", "USB powered", "Wireless powered", "Dock powered")
LINE = re.compile(r" {1,4}(?P<key>[A-Za-z][A-Za-z ]{0,40}): (?P<value>.{0,80})")


class AndroidBattery:
    name = "android_battery"
    platforms = frozenset({"android"})

    def command(self) -> str:
        return f"dumpsys battery 2>&1; {sysfs.command(*sysfs.globs('/sys/class/power_supply/*', FILES))}"

    def parse(self, text: str) -> Look:
        """Level, temperature (tenths of a degree), status, plug; `battery_w` = |current_now|·voltage."""
        said: dict[str, str] = {}
        for line in whole_lines(text):
            if match := LINE.fullmatch(line):
                said.setdefault(match["key"], match["value"].strip())
        if "level" not in said and "status" not in said:
            return nothing("battery", text, "dumpsys tells of no battery")
        reading, status = Reading(), STATUS.get(said.get("status", ""), said.get("status", ""))
        plugs = [said[name] == "true" for name in PLUGS if name in said]
        plugged = any(plugs) if plugs else None
        battery.describe(reading, status, plugged)
        _level(reading, said)
        reading.text("battery_c", said.get("temperature"), 0.1)
        current, voltage = _kernel(sysfs.tree(text, "|".join(FILES)))
        battery.power(reading, current or said.get("current now"), voltage or said.get("voltage"), status, plugged)
        return reading.look()


def _level(reading: Reading, said: Mapping[str, str]) -> None:
    scale = number(said.get("scale", "100"))
    if not scale or scale < 0:
        return reading.unknown("battery_pct", "the scale of the level is not told")
    return reading.text("battery_pct", said.get("level"), 100 / scale)


def _kernel(tree: sysfs.Tree) -> tuple[str | None, str | None]:
    """(current_now, voltage_now) of the supply that is the battery."""
    batteries = [f for f in tree.folders() if tree.get(f, "type") == "Battery" or f == "battery"]
    batteries.sort(key=lambda folder: folder != "battery")
    with_current = [f for f in batteries if tree.get(f, "current_now") is not None]
    chosen = next(iter(with_current), "")
    return tree.get(chosen, "current_now"), tree.get(chosen, "voltage_now")
