"""Of all that a device's sensors read: which temperature, and which power, stands for the device.

By name, most telling first. What heats up with the work and decides about throttling comes before what follows
it slowly, and that before what only the room decides. A GPU's own counts where the GPU does the work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

#: A processor as a whole; then a phone's skin (what its limits are set on); then single cores; then the board.
PROCESSOR_C = (
    r"x86_pkg_temp_c",
    r"coretemp_package_id_0_c",
    r"(k10temp|zenpower)_(tdie|tctl)_c",
    r"tj_c",
    r"(soc|cpu)_c",
    r"cpu_thermal_c|soc_thermal_c|cpu_thermal_temp1_c",
    r"skin_.*_c|.*skin.*_c",
    r"cpuss_.*_c",
    r"(cpu|big|mid|little)[0-9_].*_c|(big|mid|little)_c|cpu_therm_c",
    r"tcpu_c|.*package.*_c",
    r"acpitz_c|acpitz_temp1_c",
    r"quiet_therm_c",
    r"battery_c",
)
GRAPHICS_C = (r"gpu[0-9]*_c", r"gpu[0-9]*_junction_c", r"amdgpu_edge_c", r"gpuss_.*_c|gpu[0-9_].*_c")
#: The whole device first, then what computes in it. Counters of energy stand beside, by the same order.
DEVICE_W = (r"battery_w", r"system_w", r"psys_uj", r"vdd_in_w", r"package_w", r"package_[0-9]+_uj", r"cpu_w")
GRAPHICS_W = (r"battery_w", r"system_w", r"vdd_in_w", r"gpu[0-9]*_w", r"amdgpu_.*_w")


def first(values: Mapping[str, float], patterns: tuple[str, ...]) -> str:
    """The name that the first matching pattern has; of several the first in the alphabet. Empty: none."""
    for pattern in patterns:
        if found := sorted(name for name in values if re.fullmatch(pattern, name)):
            return found[0]
    return ""


def temperature(values: Mapping[str, float], *, on_gpu: bool = False) -> str:
    """The name of the reading that stands for the device's temperature; of any, where none is known by name."""
    known = first(values, (*GRAPHICS_C, *PROCESSOR_C) if on_gpu else (*PROCESSOR_C, *GRAPHICS_C))
    return known or first(values, (r".*_c",))


def power(values: Mapping[str, float], *, on_gpu: bool = False) -> str:
    """The name of the reading that stands for the device's power: watts, or a counter of µJ. Empty: none does."""
    return first(values, GRAPHICS_W if on_gpu else DEVICE_W)


def on_gpu(backend: str) -> bool:
    """Whether a backend's name, as a runtime tells it, is a GPU's."""
    return bool(re.search(r"cuda|metal|mtl|vulkan|rocm|hip|sycl|opencl|gpu", backend.lower()))
