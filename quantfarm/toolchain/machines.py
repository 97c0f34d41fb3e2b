"""The machines that static programs are built for: one line each."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass

from quantfarm.errors import unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`triple` and `cpu` are zig's names; `elf` is the machine's number in an ELF header.

    `cpu` is the least that a device must have: features are chosen when compiling.
    """

    name: str
    triple: str
    cpu: str
    elf: int


#: Armv8.2 with dot products and half floats: most phones since 2019, Raspberry Pi 5; not a Pi 4 (Cortex-A72).
ARM64 = Machine(name="arm64", triple="aarch64-linux-musl", cpu="cortex_a76", elf=183)
#: AVX2, FMA, F16C: PCs from 2013 (Haswell), and Android's emulator on one.
X86_64 = Machine(name="x86_64", triple="x86_64-linux-musl", cpu="x86_64_v3", elf=62)

#: Android's kernel runs static Linux programs: the same build serves both.
TABLE: Mapping[str, Machine] = {
    "android-arm64": ARM64,
    "android-x86_64": X86_64,
    "linux-arm64": ARM64,
    "linux-x86_64": X86_64,
}
ARCHITECTURES = {"aarch64": "arm64", "AMD64": "x86_64"}
SYSTEMS = {"Darwin": "macos"}


def machine(target: str) -> Machine:
    """Raises UsageError for a platform that nothing is built for."""
    if target not in TABLE:
        raise unknown("platform to build for", target, TABLE)
    return TABLE[target]


def here() -> str:
    """The platform of this machine, e.g. `linux-x86_64`, as device profiles name it."""
    system = platform.system()
    name, architecture = SYSTEMS.get(system, system.lower()), platform.machine()
    return f"{name}-{ARCHITECTURES.get(architecture, architecture)}"
