"""Raspberry Pi: what its firmware says of heat, voltage, clock and whether it holds the processor back."""

from __future__ import annotations

import re

from quantfarm.marked import whole_lines
from quantfarm.sensors import Look
from quantfarm.sensors.reading import Reading, nothing

QUERIES = ("measure_temp", "measure_volts", "measure_clock arm", "get_throttled")
LINE = re.compile(r"(?P<what>temp|volt|throttled|frequency\([0-9]{1,3}\))=(?P<value>[0-9a-fx.]{1,20})(?:'C|V)?")
#: Bits of `get_throttled`; 16 more to the left: since boot.
NOW = {"undervoltage_flag": 0, "arm_capped_flag": 1, "throttled_flag": 2, "soft_limit_flag": 3}
SINCE_BOOT = 16


class Vcgencmd:
    name = "vcgencmd"
    platforms = frozenset({"linux"})

    def command(self) -> str:
        return "; ".join(f"vcgencmd {query} 2>&1" for query in QUERIES)

    def parse(self, text: str) -> Look:
        """`soc_c`, `core_v`, `arm_mhz`; `throttled_flag` … as of now, `throttled_since_boot_flag` … as of ever."""
        reading = Reading()
        for line in whole_lines(text):
            if not (match := LINE.fullmatch(line.strip())):
                continue
            match match["what"]:
                case "temp":
                    reading.text("soc_c", match["value"])
                case "volt":
                    reading.text("core_v", match["value"])
                case "throttled":
                    _flags(reading, match["value"])
                case _:
                    reading.text("arm_mhz", match["value"], 1e-6)
        look = reading.look()
        return look if look.values or look.unknown else nothing("firmware", text, "no answer of vcgencmd")


def _flags(reading: Reading, text: str) -> None:
    if not re.fullmatch(r"0x[0-9a-f]{1,8}", text):
        return reading.unknown("throttled_flag", "no mask of flags")
    for name, bit in NOW.items():
        reading.flag(name, bool(int(text, 16) >> bit & 1))
        reading.flag(name.replace("_flag", "_since_boot_flag"), bool(int(text, 16) >> (bit + SINCE_BOOT) & 1))
    return None
