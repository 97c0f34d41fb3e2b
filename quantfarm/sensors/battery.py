"""A battery's figures with their units and direction worked out, for who reads them from anywhere.

The kernel says µV and µA; drivers and vendors also say mV and mA, and the sign of a current means either way.
"""

from __future__ import annotations

from quantfarm.sensors.reading import Reading, number, shown

#: What packs of portable devices can have between their ends (V): no reading fits in µV and in mV at once.
PACK_V = (2.0, 60.0)
#: A device that is awake draws more than this (20 mA), and no portable one 20 A: so a current's unit can be told.
AWAKE_UA = 20_000.0

CHARGING, DISCHARGING, FULL, NOT_CHARGING = "charging", "discharging", "full", "not charging"
STATUSES = frozenset({CHARGING, DISCHARGING, FULL, NOT_CHARGING})


def volts(text: str) -> float | None:
    """From µV or mV; None where it is neither."""
    raw = number(text)
    for scale in (1e-6, 1e-3):
        if raw is not None and PACK_V[0] <= abs(raw) * scale <= PACK_V[1]:
            return abs(raw) * scale
    return None


def amperes(text: str, status: str) -> float | None:
    """How much, whichever way; None where µA and mA are both possible (a small current while not discharging)."""
    raw = number(text)
    if raw is None or raw == 0:
        return None
    if abs(raw) >= AWAKE_UA:
        return abs(raw) * 1e-6
    return abs(raw) * 1e-3 if status == DISCHARGING else None


def describe(reading: Reading, status: str, plugged: bool | None) -> None:
    """Status and plug as states and as flags that a program can use."""
    if status in STATUSES:
        reading.state("battery", status)
        reading.flag("battery_discharging_flag", status == DISCHARGING)
        reading.flag("battery_charging_flag", status == CHARGING)
    else:
        reading.unknown("battery_discharging_flag", f"the battery's status is {shown(status)!r}")
    if plugged is not None:
        reading.flag("plugged_flag", plugged)


def power(reading: Reading, current: str | None, voltage: str | None, status: str, plugged: bool | None) -> None:
    """`battery_v`, `battery_a` and, while nothing but the battery feeds the device, what it draws: `battery_w`."""
    v = volts(voltage) if voltage is not None else None
    if v is not None:
        reading.value("battery_v", v)
    elif voltage is not None:
        reading.unknown("battery_v", f"{shown(voltage)!r} is no voltage of a battery in µV or mV")
    if current is None:
        return reading.unknown("battery_w", "the current is not told")
    a = amperes(current, status)
    if a is None:
        return reading.unknown("battery_a", f"{shown(current)!r} while {shown(status) or 'unknown'}: µA or mA")
    reading.value("battery_a", a)
    if status != DISCHARGING or plugged:
        return reading.unknown("battery_w", "plugged in: what the battery gives or takes is not what the device draws")
    return reading.value("battery_w", a * v) if v is not None else None
