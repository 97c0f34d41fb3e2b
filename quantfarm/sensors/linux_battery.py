"""Batteries and mains of a Linux device: /sys/class/power_supply."""

from __future__ import annotations

from quantfarm.sensors import Look, battery, sysfs
from quantfarm.sensors.reading import Reading, nothing, number

FILES = ("type", "scope", "online", "status", "capacity", "current_now", "voltage_now", "power_now", "temp")
#: Supplies that feed the device; a mouse's or a pen's battery says `scope: Device`.
MAINS = frozenset({"Mains", "USB", "Wireless"})


class LinuxBattery:
    name = "linux_battery"
    platforms = frozenset({"linux"})

    def command(self) -> str:
        return sysfs.command(*sysfs.globs("/sys/class/power_supply/*", FILES))

    def parse(self, text: str) -> Look:
        """The first battery of the device's own; µV, µA, µW by the kernel's contract, mV and mA seen and told."""
        tree, reading = sysfs.tree(text, "|".join(FILES)), Reading()
        feeds = [tree.get(f, "online") for f in tree.folders() if tree.get(f, "type") in MAINS]
        plugged = any(online not in (None, "0") for online in feeds) if feeds else None
        own = [f for f in tree.folders() if tree.get(f, "type") == "Battery" and tree.get(f, "scope") != "Device"]
        if own:
            _battery(reading, tree, own[0], plugged)
        elif plugged is not None:
            reading.flag("plugged_flag", plugged)
        look = reading.look()
        return look if look.values or look.unknown else nothing("battery", "", "there is none")


def _battery(reading: Reading, tree: sysfs.Tree, folder: str, plugged: bool | None) -> None:
    status = (tree.get(folder, "status") or "").lower()
    battery.describe(reading, status, plugged)
    reading.text("battery_pct", tree.get(folder, "capacity"))
    reading.text("battery_c", tree.get(folder, "temp"), 0.1)
    microwatts = number(tree.get(folder, "power_now") or "")
    if microwatts and status == battery.DISCHARGING and not plugged:
        reading.value("battery_w", abs(microwatts) * 1e-6)
    battery.power(reading, tree.get(folder, "current_now"), tree.get(folder, "voltage_now"), status, plugged)
