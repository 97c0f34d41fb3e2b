"""Sensors: how to watch a device. One file and one line here each.

A sensor is a command that prints one look and a pure reading of what it printed. Whoever reaches
the device runs the commands, all of them in one shell (`quantfarm.sensors.stream`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from quantfarm import tables

TABLE: dict[str, str] = {
    "proc_memory": "quantfarm.sensors.proc_memory:ProcMemory",
    "proc_cpu": "quantfarm.sensors.proc_cpu:ProcCpu",
    "cpufreq": "quantfarm.sensors.cpufreq:CpuFreq",
    "thermal_zone": "quantfarm.sensors.thermal_zone:ThermalZone",
    "hwmon": "quantfarm.sensors.hwmon:Hwmon",
    "rapl": "quantfarm.sensors.rapl:Rapl",
    "linux_battery": "quantfarm.sensors.linux_battery:LinuxBattery",
    "nvidia_smi": "quantfarm.sensors.nvidia_smi:NvidiaSmi",
    "rocm_smi": "quantfarm.sensors.rocm_smi:RocmSmi",
    "tegrastats": "quantfarm.sensors.tegrastats:Tegrastats",
    "vcgencmd": "quantfarm.sensors.vcgencmd:Vcgencmd",
    "android_thermal": "quantfarm.sensors.android_thermal:AndroidThermal",
    "android_battery": "quantfarm.sensors.android_battery:AndroidBattery",
    "macmon": "quantfarm.sensors.macmon:Macmon",
    "powermetrics": "quantfarm.sensors.powermetrics:Powermetrics",
    "vm_stat": "quantfarm.sensors.vm_stat:VmStat",
    "macos_power": "quantfarm.sensors.macos_power:MacosPower",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a sensor read at one moment.

    `values` by name; the unit is the end of the name: `x86_pkg_temp_c`, `package_0_uj`, `gpu0_w`, `cpu_mhz`,
    `battery_pct`, `mem_available_mib`. `states`: what is no number ("discharging", "on").
    `unknown`: what could not be read, and why; never a wrong number in its place.
    """

    values: Mapping[str, float] = field(default_factory=dict[str, float])
    states: Mapping[str, str] = field(default_factory=dict[str, str])
    unknown: Mapping[str, str] = field(default_factory=dict[str, str])


class Sensor(Protocol):
    """`platforms`: systems it can be on ("linux", "android", "macos"); others are not asked."""

    name: str
    platforms: frozenset[str]

    def command(self) -> str:
        """POSIX shell text that prints one look and ends at once; one process if it can be (it runs each
        second beside a measurement). It must print nothing harmful where the sensor is not there."""
        ...

    def parse(self, text: str) -> Look:
        """Pure. Never raises: what it does not understand is `unknown`."""
        ...


def sensor(name: str) -> Sensor:
    """Raises UsageError for an unknown name."""
    return tables.load(TABLE, name, "sensor")()
