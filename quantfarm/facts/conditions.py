"""Under what conditions a device is about to measure: one shell text, and a pure reading of the answer.

`COMMAND` is as `quantfarm.facts.COMMAND` is; it takes about half a second, in which it watches who computes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from quantfarm.facts.system import keys
from quantfarm.marked import end, section, sections, whole_lines
from quantfarm.sensors import Look, sensor, sysfs
from quantfarm.sensors.reading import number, shown

WATCHED_S = 0.5
TICK_S = 0.01
POLICY = "/sys/devices/system/cpu/cpufreq/policy*"
LIMITS = ("scaling_max_freq", "cpuinfo_max_freq")
SCREEN = "dumpsys power | grep -E '^ *(mWakefulness=|Display Power: state=)'"
PROCESSES = "cat /proc/uptime; cat /proc/[0-9]*/stat 2>/dev/null"
#: Where each system's battery and heat are read.
SENSORS = {
    "linux": ("proc_memory", "linux_battery"),
    "android": ("proc_memory", "android_battery", "android_thermal"),
    "macos": ("vm_stat", "macos_power"),
}


def _looks(system: str) -> str:
    return "".join(section(f"sensor.{name}", sensor(name).command()) for name in SENSORS[system])


KERNEL = (
    section("load", "cat /proc/loadavg")
    + section("governor", "cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    + section("limits", sysfs.command(*sysfs.globs(POLICY, LIMITS)))
    + section("before", PROCESSES)
    + f"sleep {WATCHED_S}\n"
    + section("after", PROCESSES)
)
COMMAND = (
    'export LC_ALL=C\nif [ "$(uname -s)" = Darwin ]; then\n'
    + section("load", "sysctl -n vm.loadavg")
    + section("ps", "ps -Aceo pcpu,comm -r | head -n 4")
    + _looks("macos")
    + "else\n"
    + KERNEL
    + "if command -v getprop >/dev/null 2>&1; then\n"
    + section("screen", SCREEN)
    + _looks("android")
    + f"else\n{_looks('linux')}fi\nfi\n{end()}"
)


def parse(lines: Iterable[str]) -> dict[str, Any]:
    """What was so; None where the device does not say.

    `load_1min`, `memory_available_mib`, `governor`, `on_mains` (None: it has no battery), `battery_pct`,
    `battery` ("discharging", …), `screen` ("on", "off"), `cpu_limits_mhz` (policy -> the most it may clock now),
    `cpu_limited` (whether that is less than it can), `thermal_status` (a phone's worst sensor, 0 to 6),
    `top_process` ({"name", "cpu_pct"} of whoever computed most just now; 100 is one core).
    """
    said = sections(lines)
    looks = {name: sensor(name).parse(said.get(f"sensor.{name}", "")) for names in SENSORS.values() for name in names}
    values = {name: value for look in looks.values() for name, value in look.values.items()}
    available = values.get("mem_available_mib")
    limits, limited = _limits(said.get("limits", ""))
    return {
        "load_1min": _load(said.get("load", "")),
        "memory_available_mib": None if available is None else int(available),
        "governor": _governor(said.get("governor", "")),
        "on_mains": _on_mains(values, looks),
        "battery_pct": values.get("battery_pct"),
        "battery": next((look.states["battery"] for look in looks.values() if "battery" in look.states), None),
        "screen": _screen(said.get("screen", "")),
        "cpu_limits_mhz": limits or None,
        "cpu_limited": limited,
        "thermal_status": values.get("sensor_status_level"),
        "top_process": _top(said.get("before", ""), said.get("after", "")) or _top_of_ps(said.get("ps", "")),
    }


def _load(text: str) -> float | None:
    match = re.match(r"\{? ?([0-9]{1,6}\.[0-9]{1,3})\s", text)
    return float(match[1]) if match else None


def _governor(text: str) -> str | None:
    match = re.fullmatch(r"([a-z][a-z0-9_-]{1,40})\n", text)
    return match[1] if match else None


def _on_mains(values: Mapping[str, float], looks: Mapping[str, Look]) -> bool | None:
    if "battery_pct" not in values and not any("battery" in look.states for look in looks.values()):
        return None
    if "plugged_flag" in values:
        return bool(values["plugged_flag"])
    discharging = values.get("battery_discharging_flag")
    return None if discharging is None else not discharging


def _screen(text: str) -> str | None:
    """The display's own state, else whether the phone is awake."""
    display = keys(text, "state=").get("Display Power:", "")
    if display:
        return {"ON": "on", "OFF": "off"}.get(display, shown(display.lower()))
    awake = keys(text, "=").get("mWakefulness", "")
    return {"Awake": "on", "Asleep": "off", "Dozing": "off"}.get(awake)


def _limits(text: str) -> tuple[dict[str, float], bool | None]:
    tree = sysfs.tree(text, "|".join(LIMITS))
    limits: dict[str, float] = {}
    limited: list[bool] = []
    for policy in tree.folders():
        now, most = (number(tree.get(policy, file) or "") for file in LIMITS)
        if re.fullmatch(r"policy[0-9]{1,4}", policy) and now:
            limits[policy] = now / 1000
            limited += [now < most] if most else []
    return limits, any(limited) if limited else None


STAT = re.compile(
    r"(?P<pid>[0-9]{1,10}) \((?P<name>.*)\) [A-Za-z](?: -?[0-9]{1,20}){10} (?P<user>[0-9]+) (?P<system>[0-9]+) .*"
)


def _snapshot(text: str) -> tuple[float | None, dict[str, tuple[str, int]]]:
    """(seconds since boot, process -> (name, ticks of processor time))"""
    lines = whole_lines(text)
    seconds = number(lines[0].partition(" ")[0]) if lines else None
    found = [match for line in lines[1:] if len(line) < 2000 and (match := STAT.fullmatch(line))]
    return seconds, {m["pid"]: (m["name"], int(m["user"][:18]) + int(m["system"][:18])) for m in found}


def _top(before: str, after: str) -> dict[str, Any] | None:
    """Whoever computed most between two looks at all processes."""
    (t0, old), (t1, new) = _snapshot(before), _snapshot(after)
    if t0 is None or t1 is None or t1 <= t0:
        return None
    grown = {pid: ticks - old[pid][1] for pid, (name, ticks) in new.items() if pid in old and old[pid][0] == name}
    if not grown:
        return None
    pid = max(grown, key=lambda pid: grown[pid])
    share = max(0.0, 100 * grown[pid] * TICK_S / (t1 - t0))
    return {"name": shown(new[pid][0]), "cpu_pct": round(share, 1)}


def _top_of_ps(text: str) -> dict[str, Any] | None:
    """`%CPU COMM`, sorted by the system itself."""
    for line in whole_lines(text):
        match = re.fullmatch(r"\s*(?P<pct>[0-9]{1,5}\.[0-9]) (?P<name>.{1,200})", line)
        if match and match["name"] not in ("ps", "head"):
            return {"name": shown(match["name"].strip()), "cpu_pct": float(match["pct"])}
    return None
