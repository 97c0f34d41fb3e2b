"""What is said beside a point under the pointer."""

from __future__ import annotations

import html
import textwrap


def wrapped(text: str, width: int = 60, longest: int = 400) -> str:
    """On several lines, without plotly's markup or formulas."""
    lines = textwrap.wrap(text[:longest], width)
    return "<br>".join(html.escape(line, quote=False).replace("$", "&#36;") for line in lines)
