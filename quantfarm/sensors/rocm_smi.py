"""AMD GPUs by rocm-smi, as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from quantfarm.sensors import Look
from quantfarm.sensors.reading import Reading, nothing

MIB = 1 / 2**20
#: What it says -> (end of our name, factor). Of several that give one figure the first counts.
FIGURES = {
    "Temperature (Sensor edge) (C)": ("c", 1.0),
    "Temperature (Sensor junction) (C)": ("junction_c", 1.0),
    "Temperature (Sensor memory) (C)": ("mem_c", 1.0),
    "Average Graphics Package Power (W)": ("w", 1.0),
    "Current Socket Graphics Package Power (W)": ("w", 1.0),
    "GPU use (%)": ("pct", 1.0),
    "VRAM Total Memory (B)": ("mem_total_mib", MIB),
    "VRAM Total Used Memory (B)": ("mem_used_mib", MIB),
}
CLOCKS = {"sclk clock speed:": "mhz", "mclk clock speed:": "mem_mhz"}
CLOCK = re.compile(r"\(([0-9]{1,6})Mhz\)")
CARD = re.compile(r"card([0-9]{1,3})")


class RocmSmi:
    name = "rocm_smi"
    platforms = frozenset({"linux"})

    def command(self) -> str:
        return "timeout 5 rocm-smi --showtemp --showpower --showuse --showmeminfo vram --showclocks --json 2>&1"

    def parse(self, text: str) -> Look:
        """`gpu0_c` (its edge), `gpu0_junction_c`, `gpu0_w`, `gpu0_pct`, `gpu0_mem_used_mib`, `gpu0_mhz`, …"""
        try:
            cards: Any = json.loads(text, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            return nothing("gpus", text, "no JSON of rocm-smi")
        reading = Reading()
        for name, card in cast("dict[str, Any]", cards).items() if isinstance(cards, dict) else ():
            if (match := CARD.fullmatch(name)) and isinstance(card, dict):
                _card(reading, f"gpu{match[1]}", cast("dict[str, Any]", card))
        look = reading.look()
        return look if look.values or look.unknown else nothing("gpus", "", "rocm-smi tells of none")


def _card(reading: Reading, gpu: str, card: Mapping[str, Any]) -> None:
    for said, (end, scale) in FIGURES.items():
        if isinstance(value := card.get(said), str):
            reading.text(f"{gpu}_{end}", value, scale)
    for said, end in CLOCKS.items():
        value = card.get(said)
        if isinstance(value, str) and (match := CLOCK.fullmatch(value)):
            reading.text(f"{gpu}_{end}", match[1])
