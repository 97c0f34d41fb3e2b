"""How plots look: calm, in Streamlit's light or dark, one colour per quantization everywhere, units on every axis."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st

from quantfarm.report import palette


@dataclass(frozen=True, slots=True)
class Look:
    """Colours that depend on the background."""

    ink: str
    muted: str
    rule: str
    paper: str
    shade: str
    unquantized: str


LIGHT = Look(palette.INK, palette.MUTED, palette.RULE, palette.PAPER, palette.SHADE, palette.CLASSES[16])
DARK = Look("#e3e7eb", "#9aa4ae", "#39424c", "#14181d", "#2a2a22", "#b4bac0")
#: Good, bad and undecided: never without a word or a mark beside them.
GOOD, BAD, UNSURE = "#228833", "#CC3311", "#997700"


def is_dark() -> bool:
    return st.context.theme.type == "dark"


def look() -> Look:
    return DARK if is_dark() else LIGHT


def colour(variant: str) -> str:
    """Of a quantization, the same in every view and in the reports; the unquantized one's grey follows the theme."""
    base = variant.partition("+")[0]
    return look().unquantized if palette.size_class(base) == 16 else palette.colour(variant)


def styled(figure: go.Figure) -> go.Figure:
    """The figure in the theme's clothes."""
    own = look()
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": own.ink, "size": 13},
        margin={"l": 64, "r": 16, "t": 40, "b": 56},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "title_text": ""},
        hoverlabel={"bgcolor": own.paper, "font": {"color": own.ink}, "bordercolor": own.rule},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": own.muted, "activecolor": own.ink},
    )
    axes = {"gridcolor": own.rule, "linecolor": own.rule, "zerolinecolor": own.rule, "automargin": True}
    figure.update_xaxes(**axes)
    figure.update_yaxes(**axes)
    return figure
