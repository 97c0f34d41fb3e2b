"""One fixed colour per quantization, everywhere; and the calm colours around them.

The hues are Paul Tol's "bright" scheme (distinct under every common colour blindness, and in print), one
per size class; members of a class differ in lightness. Colour never stands alone: points are labelled.
"""

from __future__ import annotations

import colorsys
import hashlib
import re

INK = "#24292f"  # text and the recommended one's ring
MUTED = "#6e7781"  # secondary text
RULE = "#d0d7de"  # axes and grid
PAPER = "#ffffff"
SHADE = "#f6f2e6"  # the cliff

#: Size class (whole bits; 16 for what is not quantized) -> hue.
CLASSES = {
    16: "#555555",
    8: "#4477AA",
    6: "#66CCEE",
    5: "#228833",
    4: "#CCBB44",
    3: "#EE6677",
    2: "#AA3377",
    1: "#774411",
}
#: The usual member of each class has its pure hue; these are lighter (> 0) or darker (< 0).
SHADES = {
    "Q8_0": 0.0,
    "Q6_K": 0.0,
    "Q5_K_M": 0.0,
    "Q5_K_S": 0.3,
    "Q5_0": -0.3,
    "Q5_1": -0.15,
    "Q4_K_M": 0.0,
    "Q4_K_S": 0.3,
    "Q4_0": -0.35,
    "Q4_1": -0.2,
    "IQ4_XS": 0.45,
    "IQ4_NL": 0.15,
    "Q3_K_M": 0.0,
    "Q3_K_S": 0.3,
    "Q3_K_L": -0.25,
    "Q2_K": 0.0,
    "Q2_K_S": 0.3,
}
OTHER = "#999999"


def colour(variant: str) -> str:
    """`#rrggbb` of a quantization by name; the same for ever, for unknown names too."""
    base = variant.partition("+")[0].upper()
    hue = CLASSES.get(size_class(base), OTHER)
    return _shade(hue, SHADES[base] if base in SHADES else _by_name(variant) if size_class(base) != 16 else 0.0)


def size_class(name: str) -> int:
    """16, 8, 6, 5, 4, 3, 2 or 1 from a name like `F16`, `IQ4_XS`, `int4`, `4bit`; 0 when it does not say."""
    if re.fullmatch(r"B?F(16|32)", name.upper()):
        return 16
    found = re.search(r"\d+", name)
    return int(found[0]) if found and int(found[0]) in CLASSES else 0


def _by_name(name: str) -> float:
    """A lightness in ±0.4 that only the name decides."""
    return hashlib.sha256(name.encode()).digest()[0] / 255 * 0.8 - 0.4


def _shade(colour: str, by: float) -> str:
    r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, light, saturation = colorsys.rgb_to_hls(r, g, b)
    light = light + (1 - light) * by if by > 0 else light * (1 + by)
    return "#" + "".join(f"{round(255 * v):02x}" for v in colorsys.hls_to_rgb(hue, light, saturation))
