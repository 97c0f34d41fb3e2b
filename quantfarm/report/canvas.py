"""A drawing of characters: Plotext's one figure of the process, clean before and after."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotext
from rich.text import Text

#: Narrower than this it cannot be read: nothing is drawn.
NARROWEST = 50


def drawn(draw: Callable[[Any], None], width: int, height: int, *, colours: bool) -> Text:
    """What `draw` put into the figure; of this size, whatever terminal this is."""
    figure: Any = plotext.figure
    figure.clear()
    try:
        plotext.terminal.limit(False, False)
        figure.theme("colorless")
        figure.plot_size(width, height)
        draw(figure)
        text = Text.from_ansi(str(figure.build()))
    finally:
        figure.clear()
        plotext.terminal.clear()
    return text if colours else Text(text.plain)
