"""Linux thermal zones: most are temperatures in thousandths of a degree; some are empty, dead, or none at all."""

from __future__ import annotations

import re
from statistics import median

from quantfarm.sensors import Look, sysfs
from quantfarm.sensors.reading import LIMITS, Reading, name_of, nothing, number

#: Zones that hold a voltage, a current or a charge: vendors use the framework for limits on these, too.
NO_TEMPERATURE = re.compile(r"vbat|ibat|bcl|vph|volt|curr|[-_]lvl[0-9]|^socd?$")
MILLI = 1e-3
#: A zone below 5 °C on a device whose zones read 20 °C more is not powered (modems read 2 °C when off).
COLD_C, APART_C = 5.0, 20.0


class ThermalZone:
    name = "thermal_zone"
    platforms = frozenset({"linux", "android"})

    def command(self) -> str:
        return sysfs.command(*sysfs.globs("/sys/class/thermal/thermal_zone*", ("type", "temp")))

    def parse(self, text: str) -> Look:
        """One `TYPE_c` for each zone, `TYPE_2_c` … for further zones of the same type."""
        tree, reading = sysfs.tree(text, "type|temp"), Reading()
        zones = {zone: tree.get(zone, "type") for zone in tree.folders() if zone.startswith("thermal_zone")}
        raw = {zone: tree.get(zone, "temp") for zone in zones}
        warm = [n * MILLI for said in raw.values() if said and (n := number(said)) and n >= 1000]
        rest = median(warm) if warm and 2 * len(warm) >= len(zones) else None
        for zone, kind in zones.items():
            name = reading.free(name_of(kind or zone), "c")
            why = _no_reading(kind or "", raw[zone], tree.why(zone, "temp"), rest)
            if why:
                reading.unknown(name, why)
            else:
                reading.text(name, raw[zone], MILLI)
        look = reading.look()
        return look if look.values or look.unknown else nothing("zones", "", "the kernel shows no thermal zones")


def _no_reading(kind: str, said: str | None, error: str | None, rest: float | None) -> str:
    """Why a zone gives no temperature; empty where it does. `rest`: the middle of all zones, if half of them read."""
    if NO_TEMPERATURE.search(kind.lower()):
        return "no temperature: a zone for a voltage, a current or a charge"
    if said is None:
        return error or "empty"
    milli = number(said)
    if milli is None or milli == 0:
        return ""  # `text` says why
    if abs(milli) < 1000:
        return f"reads {milli:g}: not in thousandths of a degree"
    return _cold(milli * MILLI, rest)


def _cold(c: float, rest: float | None) -> str:
    """Why so cold a zone is none."""
    if not LIMITS["c"][0] <= c < COLD_C:
        return ""
    if rest is None:
        return f"reads {c:g} °C: too few other zones read to tell whether it is powered"
    return f"reads {c:g} °C where the rest of the device is at {rest:.0f}: not powered" if rest - c > APART_C else ""
