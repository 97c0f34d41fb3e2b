"""Sustained load: the rate of each run over time, the steady part shaded, the temperature below. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard import theme
from dashboard.charts.drawing import plain
from quantfarm.metrics.sustained import Run
from quantfarm.report.figures import number
from quantfarm.report.throttles import HEAT, Throttle, since, unit

#: Launches compared are told apart by their marks too: several may be of one quantization, which has one colour.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "star", "hexagon")
DASHES = ("solid", "dash", "dot", "dashdot")


def figure(shown: Throttle) -> go.Figure:
    """One launch. Both parts zoom along time together."""
    heat = bool(shown.found.temperatures)
    heights = [0.66, 0.34] if heat else [1.0]
    drawn = make_subplots(rows=len(heights), cols=1, row_heights=heights, shared_xaxes=True, vertical_spacing=0.06)
    named, scale = unit(shown.found)
    _steady(drawn, shown, scale)
    _rates(drawn, shown, scale, named)
    if heat:
        _temperature(drawn, shown, scale, named)
    drawn.update_layout(height=520 if heat else 380, hovermode="closest")
    until = since(shown.found, shown.found.runs[-1].finished) / scale
    drawn.update_xaxes(range=[-0.03 * until, 1.03 * until])  # sensors are read before and after, too
    drawn.update_xaxes(title_text=f"time since the first prompt ({named})", row=2 if heat else 1, col=1)
    drawn.update_yaxes(title_text="decode speed by run (tok/s)", range=[0, 1.18 * _most(shown)], row=1, col=1)
    return drawn


def _most(shown: Throttle) -> float:
    return max(run.rate for run in shown.found.runs)


def _rates(drawn: go.Figure, shown: Throttle, scale: float, named: str) -> None:
    """Each run as long as its decoding took, with a point in its middle: hollow before the steady part."""
    found, fill = shown.found, theme.colour(shown.variant)
    x, y = list[float | None](), list[float | None]()
    for run in found.runs:
        x += [since(found, run.began) / scale, since(found, run.finished) / scale, None]
        y += [run.rate, run.rate, None]
    drawn.add_scatter(
        x=x, y=y, mode="lines", line={"color": fill, "width": 3}, showlegend=False, hoverinfo="skip", row=1, col=1
    )
    verdict = found.verdict
    for name, settled in (("run before it was steady", False), ("steady run", True)):
        runs = [
            (number_, run)
            for number_, run in enumerate(found.runs, 1)
            if (verdict.steady and number_ > verdict.k) is settled
        ]
        if runs:
            drawn.add_scatter(
                x=[_middle(shown, run) / scale for _, run in runs],
                y=[run.rate for _, run in runs],
                mode="markers",
                name=name if verdict.steady else "run",
                marker={
                    "size": 9,
                    "symbol": "circle" if settled else "circle-open",
                    "color": fill,
                    "line": {"width": 1.5, "color": fill},
                },
                text=[f"run {number_}: {number(run.rate)} tok/s" for number_, run in runs],
                hovertemplate=f"%{{text}}<br>at %{{x:.3g}} {named}<extra></extra>",
                row=1,
                col=1,
            )


def _middle(shown: Throttle, run: Run) -> float:
    return (since(shown.found, run.began) + since(shown.found, run.finished)) / 2


def _steady(drawn: go.Figure, shown: Throttle, scale: float) -> None:
    """Shaded, with the median as a line and its interval as a band; nothing where it is not steady."""
    found = shown.found
    rate = found.verdict.rate
    if rate is None:
        return
    left, right = (since(found, t) / scale for t in (found.runs[found.verdict.k].submitted, found.runs[-1].finished))
    drawn.add_shape(
        type="rect", x0=left, x1=right, y0=0, y1=1, xref="x", yref="y domain", layer="below",
        fillcolor=theme.look().shade, line_width=0, name="steady", showlegend=True,
    )  # fmt: skip
    if rate.low is not None and rate.high is not None:
        drawn.add_shape(
            type="rect", x0=left, x1=right, y0=rate.low, y1=rate.high, xref="x", yref="y", layer="below",
            fillcolor=theme.look().muted, opacity=0.3, line_width=0, name="95 % interval",
        )  # fmt: skip
    drawn.add_shape(
        type="line", x0=left, x1=right, y0=rate.value, y1=rate.value, xref="x", yref="y",
        line={"color": theme.look().ink, "width": 1, "dash": "dash"}, name="steady rate",
    )  # fmt: skip


def _temperature(drawn: go.Figure, shown: Throttle, scale: float, named: str) -> None:
    heat = [(since(shown.found, t) / scale, c) for t, c in shown.found.temperatures]
    drawn.add_scatter(
        x=[x for x, _ in heat],
        y=[c for _, c in heat],
        mode="lines",
        name=plain(shown.found.reading),
        line={"color": HEAT, "width": 2},
        hovertemplate=f"%{{y:.1f}} °C at %{{x:.3g}} {named}<extra></extra>",
        row=2,
        col=1,
    )
    low, high = min(c for _, c in heat), max(c for _, c in heat)
    room = max(0.15 * (high - low), 2.5)  # what does not change looks so
    drawn.update_yaxes(title_text="temperature (°C)", range=[low - room, high + room], row=2, col=1)


def compared(several: Sequence[Throttle]) -> go.Figure:
    """Each run's rate as a share of the first run's: how much every launch loses, whatever its speed is."""
    drawn = go.Figure(layout={"height": 420, "hovermode": "closest"})
    longest = max(several, key=lambda one: since(one.found, one.found.runs[-1].finished))
    named, scale = unit(longest.found)
    for number_, one in enumerate(several):
        first = one.found.runs[0].rate
        fill = theme.colour(one.variant)
        drawn.add_scatter(
            x=[_middle(one, run) / scale for run in one.found.runs],
            y=[100 * run.rate / first for run in one.found.runs],
            mode="lines+markers",
            name=plain(f"{one.device} · {one.variant}", 40),
            line={"color": fill, "width": 1.5, "dash": DASHES[number_ % len(DASHES)]},
            marker={"symbol": SYMBOLS[number_ % len(SYMBOLS)], "size": 8, "color": fill},
            text=[f"{number(run.rate)} tok/s" for run in one.found.runs],
            hovertemplate=f"%{{y:.0f}} % of the first run (%{{text}}) at %{{x:.3g}} {named}"
            "<extra>%{fullData.name}</extra>",
        )
    drawn.add_hline(y=100, line={"color": theme.look().muted, "width": 1, "dash": "dot"})
    drawn.update_xaxes(title_text=f"time since the first prompt ({named})")
    drawn.update_yaxes(title_text="decode speed (% of the first run's)", rangemode="tozero")
    return drawn


def rows(shown: Throttle) -> list[dict[str, object]]:
    """One for each run; times in s since the first prompt."""
    found = shown.found
    return [
        {
            "device": shown.device,
            "model": shown.model,
            "variant": shown.variant,
            "run": number_,
            "began_s": since(found, run.began),
            "finished_s": since(found, run.finished),
            "tok_per_s": run.rate,
            "steady": found.verdict.steady and number_ > found.verdict.k,
            "simulated": shown.simulated,
        }
        for number_, run in enumerate(found.runs, 1)
    ]
