"""Which system a device runs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from quantfarm.marked import whole_lines
from quantfarm.sensors.reading import shown

#: What `uname -m` says -> the architecture as platforms name it.
ARCHITECTURES = {
    **{"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"},
    **{"armv7l": "arm", "armv8l": "arm", "i686": "x86", "riscv64": "riscv64"},
}
PROPERTY = re.compile(r"\[(?P<key>[\w.-]{1,128})\]: \[(?P<value>.*)\]")


def properties(said: Mapping[str, str]) -> dict[str, str]:
    """Android's system properties."""
    found = [match for line in whole_lines(said.get("getprop", "")) if (match := PROPERTY.fullmatch(line.strip()))]
    return {match["key"]: shown(match["value"].strip()) for match in found}


def keys(text: str, separator: str) -> dict[str, str]:
    """`key: value` lines; of several with one key the first."""
    found: dict[str, str] = {}
    for line in whole_lines(text):
        key, split, value = line.partition(separator)
        if split and key.strip():
            found.setdefault(key.strip(), value.strip())
    return found


def uname(said: Mapping[str, str]) -> tuple[str, str, str]:
    """(system, release, machine); empty where not said."""
    lines = [shown(line.strip()) for line in whole_lines(said.get("uname", ""))]
    system, release, machine = (*lines, "", "", "")[:3]
    return system, release, machine


def platform(said: Mapping[str, str]) -> str:
    """ "linux-x86_64", "android-arm64", "macos-arm64", …: by the kernel, since that decides which programs run."""
    system, _, machine = uname(said)
    architecture = ARCHITECTURES.get(machine, machine)
    name = {"Darwin": "macos", "Linux": "android" if properties(said) else "linux"}.get(system, system.lower())
    return f"{name}-{architecture}" if name and architecture else ""


def operating_system(said: Mapping[str, str]) -> str:
    """ "Debian GNU/Linux 12 (bookworm), kernel 6.1.0", "Android 14 (UQ1A.240105.004), kernel …", "macOS 15.6"."""
    system, release, _ = uname(said)
    kernel = f", kernel {release}" if release else ""
    if system == "Darwin":
        version = next(iter(whole_lines(said.get("sw_vers", ""))), "").strip()
        return f"macOS {shown(version)}".strip()
    if android := properties(said):
        build = android.get("ro.build.id")
        name = f"Android {android.get('ro.build.version.release', '')}".strip() + (f" ({build})" if build else "")
        return name + kernel
    pretty = keys(said.get("os-release", ""), "=").get("PRETTY_NAME", "").strip("\"'")
    return (shown(pretty) or system) + kernel if system else ""
