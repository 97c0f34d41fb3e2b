"""NVIDIA GPUs by nvidia-smi: the CSV of a query, or the XML of `nvidia-smi -q -x`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from xml.etree import ElementTree

from quantfarm.marked import whole_lines
from quantfarm.sensors import Look
from quantfarm.sensors.reading import NOTHING, Reading, nothing, shown

FIELDS = "temperature.gpu,power.draw,utilization.gpu,memory.used,memory.total,clocks.sm,clocks.mem,fan.speed,pstate"
#: Its name differs by driver, and one unknown field fails the whole query: asked with it first, then without.
REASONS = "clocks_throttle_reasons.active"
#: End of a value's name -> (the unit that must stand after the number, the CSV columns that have it).
CSV: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "c": ("", ("temperature.gpu",)),
    "w": ("W", ("power.draw",)),
    "pct": ("%", ("utilization.gpu",)),
    "mem_used_mib": ("MiB", ("memory.used",)),
    "mem_total_mib": ("MiB", ("memory.total",)),
    "mhz": ("MHz", ("clocks.current.sm", "clocks.sm")),
    "mem_mhz": ("MHz", ("clocks.current.memory", "clocks.mem")),
    "fan_pct": ("%", ("fan.speed",)),
}
#: The same for the XML: the first path that is there and says a number.
XML: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "c": ("C", ("temperature/gpu_temp",)),
    "w": ("W", ("power_readings/power_draw", "gpu_power_readings/power_draw", "gpu_power_readings/average_power_draw")),
    "pct": ("%", ("utilization/gpu_util",)),
    "mem_used_mib": ("MiB", ("fb_memory_usage/used",)),
    "mem_total_mib": ("MiB", ("fb_memory_usage/total",)),
    "mhz": ("MHz", ("clocks/sm_clock",)),
    "mem_mhz": ("MHz", ("clocks/mem_clock",)),
    "fan_pct": ("%", ("fan_speed",)),
}
#: Bits of the throttle reasons (nvml.h): heat (software, hardware), power (cap, brake).
HEAT, POWER = 0x20 | 0x40, 0x04 | 0x80
HEAT_REASONS = ("sw_thermal_slowdown", "hw_thermal_slowdown")
POWER_REASONS = ("sw_power_cap", "hw_power_brake_slowdown")
CARDS = 64
XML_LIMIT = 2**21

Get = Callable[[str], str | None]


class NvidiaSmi:
    name = "nvidia_smi"
    platforms = frozenset({"linux"})

    def command(self) -> str:
        ask = "timeout 5 nvidia-smi --format=csv --query-gpu="
        return f"{ask}{FIELDS},{REASONS} 2>&1 || {ask}{FIELDS} 2>&1"

    def parse(self, text: str) -> Look:
        """`gpu0_c`, `gpu0_w`, `gpu0_pct`, `gpu0_mem_used_mib`, `gpu0_mhz`, …; `gpu0_hot_flag` and
        `gpu0_power_capped_flag`: whether heat, or a power limit, holds its clock down."""
        reading = Reading()
        if "<nvidia_smi_log" in text[:1000]:
            _xml(reading, text)
        else:
            _csv(reading, text)
        look = reading.look()
        return look if look.values or look.unknown else nothing("gpus", text, "nvidia-smi tells of none")


def _figures(reading: Reading, gpu: str, table: Mapping[str, tuple[str, tuple[str, ...]]], get: Get) -> None:
    for end, (unit, places) in table.items():
        said = [text for place in places if (text := get(place)) is not None]
        plain = [text.removesuffix(unit).strip() for text in said]
        for_number = next((text for text in plain if re.match(r"[+-]?[0-9]", text)), None)
        if for_number is not None:
            reading.text(f"{gpu}_{end}", for_number)
        elif said:
            told = said[0].strip()
            reading.unknown(f"{gpu}_{end}", "not said" if told.lower() in NOTHING else f"says {shown(told)!r}")


def _csv(reading: Reading, text: str) -> None:
    """Rows under a header whose columns carry their units: `power.draw [W]`."""
    columns: list[str] = []
    gpu = 0
    for line in whole_lines(text):
        cells = [cell.strip() for cell in line.split(",")]
        if any(cell.partition(" ")[0] in ("temperature.gpu", "power.draw") for cell in cells):
            columns = [cell.partition(" ")[0] for cell in cells]
        elif columns and len(cells) == len(columns) and gpu < CARDS:
            row = dict(zip(columns, cells, strict=True))
            _figures(reading, f"gpu{gpu}", CSV, row.get)
            reading.state(f"gpu{gpu}_pstate", row.get("pstate", ""))
            _mask(reading, f"gpu{gpu}", row.get(REASONS) or row.get("clocks_event_reasons.active") or "")
            gpu += 1


def _mask(reading: Reading, gpu: str, text: str) -> None:
    if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", text):
        reading.flag(f"{gpu}_hot_flag", bool(int(text, 16) & HEAT))
        reading.flag(f"{gpu}_power_capped_flag", bool(int(text, 16) & POWER))


def _xml(reading: Reading, text: str) -> None:
    """With no entity declared nothing can expand, and no external text is ever fetched."""
    if len(text) > XML_LIMIT or "<!ENTITY" in text or "\0" in text:
        return reading.unknown("gpus", "not XML as nvidia-smi writes it")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 (entities are refused above)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        return reading.unknown("gpus", f"not whole: {shown(str(error))}")
    for i, card in enumerate(root.findall("gpu")[:CARDS]):
        gpu = f"gpu{i}"
        _figures(reading, gpu, XML, card.findtext)
        reading.state(f"{gpu}_pstate", card.findtext("performance_state") or "")
        _reason(reading, f"{gpu}_hot_flag", card, HEAT_REASONS)
        _reason(reading, f"{gpu}_power_capped_flag", card, POWER_REASONS)
    return None


def _reason(reading: Reading, name: str, card: ElementTree.Element, reasons: tuple[str, ...]) -> None:
    """Older drivers call them throttle reasons, newer ones event reasons."""
    said = [
        card.findtext(f"clocks_{word}_reasons/clocks_{word}_reason_{reason}")
        for word in ("throttle", "event")
        for reason in reasons
    ]
    if answers := [text.strip() for text in said if text]:
        reading.flag(name, "Active" in answers)
