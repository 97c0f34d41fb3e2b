"""macOS powermetrics: power, clocks, thermal pressure as a property list. It takes root (`sudo -n` never asks)."""

from __future__ import annotations

import plistlib
from collections.abc import Mapping
from typing import Any, cast

from quantfarm.sensors import Look
from quantfarm.sensors.reading import Reading, name_of, nothing

#: mW in the list -> ours.
POWERS = {"cpu_power": "cpu_w", "gpu_power": "gpu_w", "ane_power": "ane_w", "combined_power": "package_w"}
PRESSURES = ("Nominal", "Moderate", "Heavy", "Trapping", "Sleeping")
#: The GPU's `freq_hz` is in MHz on Apple Silicon, whatever its name says; the clusters' is in Hz.
HZ_FROM = 1e5
LIMIT = 2**21
CLUSTERS = 16


class Powermetrics:
    name = "powermetrics"
    platforms = frozenset({"macos"})

    def command(self) -> str:
        return "sudo -n powermetrics -n 1 -i 200 -f plist --samplers cpu_power,gpu_power,thermal 2>&1"

    def parse(self, text: str) -> Look:
        """`cpu_w`, `gpu_w`, `package_w` (the sum), `p0_cluster_mhz`, `gpu_mhz`, `gpu_pct`, `thermal_pressure_level`."""
        said = _list(text)
        if said is None:
            return nothing("powermetrics", text, "no property list (it takes root without a password)")
        reading, processor = Reading(), _mapping(said.get("processor"))
        for key, name in POWERS.items():
            if (mw := _number(processor.get(key))) is not None:
                reading.value(name, mw * 1e-3)
        clusters = processor.get("clusters")
        for cluster in cast("list[Any]", clusters)[:CLUSTERS] if isinstance(clusters, list) else []:
            label, hz = _mapping(cluster).get("name"), _number(_mapping(cluster).get("freq_hz"))
            if isinstance(label, str) and hz is not None:
                reading.value(f"{name_of(label)}_mhz", hz * 1e-6)
        _gpu(reading, _mapping(said.get("gpu")))
        if isinstance(pressure := said.get("thermal_pressure"), str):
            reading.state("thermal_pressure", pressure)
            if pressure in PRESSURES:
                reading.value("thermal_pressure_level", PRESSURES.index(pressure))
        look = reading.look()
        return (
            look if look.values or look.unknown else nothing("powermetrics", "", "its list has no figure that we know")
        )


def _gpu(reading: Reading, gpu: Mapping[str, Any]) -> None:
    if (clock := _number(gpu.get("freq_hz"))) is not None:
        reading.value("gpu_mhz", clock * (1e-6 if clock >= HZ_FROM else 1.0))
    if (idle := _number(gpu.get("idle_ratio"))) is not None:
        reading.value("gpu_pct", 100 * (1 - idle))


def _list(text: str) -> Mapping[str, Any] | None:
    """The last whole property list (samples are apart by a NUL), read from its root on: what is declared before
    it, an encoding or entities, is nobody's business."""
    begin, end = text.rfind("<plist"), text.rfind("</plist>")
    if begin < 0 or end < begin or end - begin > LIMIT:
        return None
    data = text[begin : end + len("</plist>")].encode("utf-8", "replace")
    try:
        return _mapping(plistlib.loads(data, fmt=plistlib.FMT_XML))
    except Exception:  # plistlib raises whatever its handlers stumble over
        return None


def _mapping(thing: Any) -> Mapping[str, Any]:
    return cast("dict[str, Any]", thing) if isinstance(thing, dict) else {}


def _number(thing: Any) -> float | None:
    if isinstance(thing, int | float) and not isinstance(thing, bool) and -1e18 < thing < 1e18:
        return float(thing)
    return None
