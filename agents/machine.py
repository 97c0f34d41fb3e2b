"""What the machine we run on is: facts for a profile, and the conditions of a run."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil


def _first_line(path: str, key: str) -> str:
    """The value of the first `key : value` line of a /proc file; empty when there is none."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _sysctl(name: str) -> str:
    try:
        return subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def chip() -> str:
    if platform.system() == "Darwin":
        return _sysctl("machdep.cpu.brand_string")
    model = _first_line("/proc/cpuinfo", "model name") or _first_line("/proc/cpuinfo", "Model")
    return model or platform.processor() or platform.machine()


def operating_system() -> str:
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        name = platform.system()
    return f"{name}, kernel {platform.release()}"


def facts() -> dict[str, Any]:
    """Fields of DeviceProfile: os, chip, physical cores, memory in MiB."""
    return {
        "os": operating_system(),
        "chip": chip(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        "memory_mib": psutil.virtual_memory().total // 2**20,
    }


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def conditions() -> dict[str, Any]:
    """What else was so when a run began; None where this machine does not say."""
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return {
        "load_1min": round(os.getloadavg()[0], 2),
        "memory_available_mib": psutil.virtual_memory().available // 2**20,
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "on_mains": battery.power_plugged if battery else None,
    }
