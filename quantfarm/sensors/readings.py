"""From a device's looks to what the start gate and the idle baseline are about: its temperature, power and battery."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from quantfarm.sensors import pick
from quantfarm.sensors.stream import Stamped
from quantfarm.thermal import Reading

#: A counter of energy: its differences are power.
MICROJOULE = "_uj"


def values(looks: Iterable[Stamped]) -> dict[str, float]:
    """The latest value of every name."""
    return {name: value for stamped in looks for name, value in stamped.look.values.items()}


def readings(looks: Sequence[Stamped], temperature: str = "") -> list[Reading]:
    """The device's temperature, power and battery over time, oldest first.

    `temperature`: the name of the reading that stands for the device (the baseline's); none: chosen by name.
    """
    known = values(looks)
    heat, power = temperature or pick.temperature(known), pick.power(known)
    found = [Reading(t_s=s.seconds, temperature_c=s.look.values[heat]) for s in looks if heat in s.look.values]
    found += [Reading(t_s=t, power_w=watts) for t, watts in _power(looks, power)]
    found += [_battery(s) for s in looks if "battery_pct" in s.look.values or "plugged_flag" in s.look.values]
    return sorted(found, key=lambda reading: reading.t_s)


def _power(looks: Sequence[Stamped], name: str) -> list[tuple[float, float]]:
    drawn = [(s.seconds, s.look.values[name]) for s in looks if name in s.look.values]
    if not name.endswith(MICROJOULE):
        return drawn
    # A counter that wrapped or began anew gives none.
    return [(b[0], (b[1] - a[1]) / (b[0] - a[0]) / 1e6) for a, b in pairwise(drawn) if b[0] > a[0] and b[1] >= a[1]]


def _battery(stamped: Stamped) -> Reading:
    seen = stamped.look.values
    flags = {name: bool(seen[name]) for name in ("battery_discharging_flag", "plugged_flag") if name in seen}
    return Reading(
        t_s=stamped.seconds,
        battery_pct=seen.get("battery_pct"),
        discharging=flags.get("battery_discharging_flag"),
        plugged=flags.get("plugged_flag"),
    )
