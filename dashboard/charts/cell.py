"""One launch over time: tokens, memory, temperature, frequency and power on one axis, repetitions as bands. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard import theme
from dashboard.charts.drawing import plain
from quantfarm.report.figures import number
from quantfarm.report.palette import CLASSES
from quantfarm.sensors import pick

Row = Mapping[str, Any]
Line = list[Row]  # s, mean, least, most, n

#: Panels below the tokens': what they are called, their unit, the end of the readings that are theirs.
PANELS = (
    ("memory", "MiB", r"(rss|hwm|rss_anon|rss_file|vram|gpu\d*_used|cuda)_?.*mib"),
    ("temperature", "°C", r".+_c"),
    ("frequency", "MHz", r".+_mhz"),
    ("power", "W", r".+_(w|uj)"),
)
#: More bands than these say nothing more.
BANDS = 160
#: More lines in a panel than these are hidden until somebody asks for them in the legend.
LINES = 4
COLOURS = (CLASSES[8], CLASSES[3], CLASSES[5], CLASSES[2], CLASSES[6], CLASSES[1], CLASSES[4])


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """As storage/timeline.py gives it, as rows. `tokens`: gaps between them, empty where no times are known."""

    readings: Sequence[Row]
    repetitions: Sequence[Row]
    tokens: Sequence[Row]

    @property
    def empty(self) -> bool:
        return not (self.readings or self.repetitions or self.tokens)


def missing(shown: Timeline) -> list[str]:
    """What was not read of this launch."""
    found = [name for name, *_ in PANELS if name not in panels(shown)]
    return found + ([] if shown.tokens else ["the time of each token"])


def panels(shown: Timeline) -> dict[str, dict[str, Line]]:
    """Panel -> reading -> its line; a counter of energy as power."""
    lines: dict[str, Line] = {}
    for row in shown.readings:
        lines.setdefault(row["name"], []).append(row)
    found: dict[str, dict[str, Line]] = {}
    for panel, _, pattern in PANELS:
        mine = {name: _power(line) if name.endswith("_uj") else line for name, line in lines.items()
                if re.fullmatch(pattern, name)}  # fmt: skip
        if mine := {name: line for name, line in mine.items() if line}:
            found[panel] = {name: mine[name] for name in _first(panel, mine)}
    return found


def _first(panel: str, lines: Mapping[str, Line]) -> list[str]:
    """The reading that stands for the device first."""
    at_first = {name: line[0]["mean"] for name, line in lines.items()}
    main = {"temperature": pick.temperature, "power": pick.power}.get(panel, lambda _: "rss_mib")(at_first)
    return sorted(lines, key=lambda name: (name != main, name))


def _power(counter: Line) -> Line:
    """Of a counter of µJ: W between two looks; a step back is a counter that began anew."""
    return [
        {"s": b["s"], "mean": w, "least": w, "most": w, "n": 1}
        for a, b in pairwise(counter)
        if b["s"] > a["s"] and (w := (b["mean"] - a["mean"]) / 1e6 / (b["s"] - a["s"])) >= 0
    ]


def figure(shown: Timeline, variant: str) -> go.Figure:
    """Panels below each other; zooming one along time zooms all."""
    found = panels(shown)
    speeds = bool(shown.tokens) or any(one["seconds"] for one in shown.repetitions)
    rows = speeds + len(found)
    drawn = make_subplots(rows=max(1, rows), cols=1, shared_xaxes=True, vertical_spacing=0.035)
    _bands(drawn, shown)
    if shown.tokens:
        _tokens(drawn, shown, theme.colour(variant))
    elif speeds:
        _speeds(drawn, shown)
    for row, (panel, lines) in enumerate(found.items(), 1 + speeds):
        unit = next(unit for name, unit, _ in PANELS if name == panel)
        drawn.update_yaxes(title_text=f"{panel} ({unit})", row=row, col=1)
        for at, (name, line) in enumerate(lines.items()):
            _line(drawn, name, line, unit, row, at)
    drawn.update_xaxes(title_text="time since the first sample (s)", row=max(1, rows), col=1)
    drawn.update_layout(height=150 + 190 * max(1, rows), hovermode="closest")
    return drawn


def _bands(drawn: go.Figure, shown: Timeline) -> None:
    """Each repetition, prefill darker than decode, through all panels."""
    there = set[str]()
    known = [one for one in shown.repetitions if one["began_s"] is not None and one["finished_s"] is not None]
    for one in known[:BANDS]:
        prefill = one["phase"] == "prefill"
        drawn.add_shape(
            type="rect", xref="x", yref="paper", x0=one["began_s"], x1=one["finished_s"], y0=0, y1=1, layer="below",
            fillcolor=theme.look().muted if prefill else theme.look().rule, opacity=0.35, line_width=0,
            name=f"{one['phase']} of a repetition", showlegend=one["phase"] not in there, legendgroup=one["phase"],
        )  # fmt: skip
        there.add(one["phase"])


def _tokens(drawn: go.Figure, shown: Timeline, fill: str) -> None:
    """Gaps between tokens, and where the first token of each repetition came."""
    rows = shown.tokens
    if any(row["n"] > 1 for row in rows):
        ends = ([row["s"] for row in rows], [row["least_ms"] for row in rows], [row["most_ms"] for row in rows])
        _between(drawn, *ends, fill, 1)
    drawn.add_scatter(
        x=[row["s"] for row in rows],
        y=[row["mean_ms"] for row in rows],
        mode="markers",
        name="time between tokens",
        marker={"size": 4, "color": fill},
        customdata=[[row["repetition"], row["least_ms"], row["most_ms"], row["n"]] for row in rows],
        hovertemplate="%{y:.3g} ms (%{customdata[1]:.3g}–%{customdata[2]:.3g} of %{customdata[3]}) at %{x:.3f} s, "
        "repetition %{customdata[0]}<extra></extra>",
        row=1,
        col=1,
    )
    top = max(row["most_ms"] for row in rows)
    firsts = [one for one in shown.repetitions if one["phase"] == "prefill" and one["mode"] == "app"]
    firsts = [one for one in firsts if one["finished_s"] is not None]
    if firsts:
        waits = [1000 * (one["finished_s"] - one["began_s"]) for one in firsts]
        drawn.add_scatter(
            x=[one["finished_s"] for one in firsts],
            y=[1.12 * top] * len(firsts),
            mode="markers+text" if len(firsts) <= 6 else "markers",
            name="first token (TTFT)",
            marker={"symbol": "triangle-down", "size": 10, "color": theme.look().ink},
            text=[f"{number(wait)} ms" for wait in waits],
            textposition="top center",
            hovertemplate="time to first token %{text}<br>at %{x:.3f} s<extra></extra>",
            row=1,
            col=1,
        )
    drawn.update_yaxes(title_text="time between tokens (ms)", range=[0, 1.35 * top], row=1, col=1)


def _speeds(drawn: go.Figure, shown: Timeline) -> None:
    """Of a runtime that does not say when each token came: the rate of each repetition."""
    rates = [one["tokens_per_s"] for one in shown.repetitions if one["tokens_per_s"]]
    for phase, colour in (("prefill", CLASSES[8]), ("decode", CLASSES[3])):
        mine = [one for one in shown.repetitions if one["phase"] == phase and one["tokens_per_s"]]
        timed = [one for one in mine if one["began_s"] is not None]
        x, y = list[float | None](), list[float | None]()
        for one in timed:
            x += [one["began_s"], one["finished_s"], None]
            y += [one["tokens_per_s"], one["tokens_per_s"], None]
        if timed:
            drawn.add_scatter(
                x=x, y=y, mode="lines+markers", name=f"{phase} speed", line={"color": colour, "width": 3},
                marker={"size": 5}, hovertemplate=f"{phase}: %{{y:.4g}} tok/s at %{{x:.3f}} s<extra></extra>",
                row=1, col=1,
            )  # fmt: skip
    wide = bool(rates) and max(rates) > 8 * min(rates)
    scale = "log" if wide else "linear"
    drawn.update_yaxes(title_text="speed (tok/s)" + (", log" if wide else ""), type=scale, row=1, col=1)


def _line(drawn: go.Figure, name: str, line: Line, unit: str, row: int, at: int) -> None:
    colour = COLOURS[at % len(COLOURS)]
    if at == 0 and any(one["n"] > 1 for one in line):
        ends = ([one["s"] for one in line], [one["least"] for one in line], [one["most"] for one in line])
        _between(drawn, *ends, colour, row)
    drawn.add_scatter(
        x=[one["s"] for one in line],
        y=[one["mean"] for one in line],
        mode="lines+markers" if len(line) < 40 else "lines",
        name=plain(name),
        visible=True if at < LINES else "legendonly",
        line={"color": colour, "width": 1.6},
        marker={"size": 4},
        hovertemplate=f"{plain(name)}: %{{y:.4g}} {unit} at %{{x:.3f}} s<extra></extra>",
        row=row,
        col=1,
    )


def _between(drawn: go.Figure, x: list[float], low: list[float], high: list[float], colour: str, row: int) -> None:
    """From the least to the greatest of what one point stands for."""
    xs, ys = list[float | None](), list[float | None]()
    for place, a, b in zip(x, low, high, strict=True):
        xs += [place, place, None]
        ys += [a, b, None]
    drawn.add_scatter(
        x=xs, y=ys, mode="lines", line={"color": colour, "width": 1}, opacity=0.35, showlegend=False,
        hoverinfo="skip", row=row, col=1,
    )  # fmt: skip
