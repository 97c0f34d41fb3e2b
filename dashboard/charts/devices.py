"""A device over time: its canaries, and the states that it was in. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard import theme
from dashboard.charts.hover import wrapped
from quantfarm.health import DeviceState, Transition
from quantfarm.report.figures import number
from quantfarm.report.palette import CLASSES
from storage.device_history import Canary

FIGURES = (("bench_tg", "token generation (tok/s)"), ("ppl", "perplexity"))
#: From bad to good, as they stand above each other.
ORDER = (
    DeviceState.RETIRED, DeviceState.QUARANTINED, DeviceState.UNHEALTHY, DeviceState.REGISTERED, DeviceState.CHECKING,
    DeviceState.BUSY, DeviceState.READY,
)  # fmt: skip
COLOURS = {
    DeviceState.READY: theme.GOOD,
    DeviceState.UNHEALTHY: theme.UNSURE,
    DeviceState.QUARANTINED: theme.BAD,
}


def canaries(found: Sequence[Canary]) -> go.Figure:
    """Clean ones filled, others crosses; a dashed line where another series begins, which is not compared."""
    shown = [(name, title) for name, title in FIGURES if any(getattr(one, name) is not None for one in found)]
    drawn = make_subplots(rows=max(1, len(shown)), cols=1, shared_xaxes=True, vertical_spacing=0.07)
    for row, (name, title) in enumerate(shown, 1):
        for clean in (True, False):
            mine = [one for one in found if one.clean is clean and getattr(one, name) is not None]
            if mine:
                _canaries(drawn, mine, name, clean, row)
        drawn.update_yaxes(title_text=title, row=row, col=1)
    for before, one in pairwise(found):
        if one.series != before.series and one.happened_at and before.happened_at:
            between = before.happened_at + (one.happened_at - before.happened_at) / 2
            drawn.add_vline(x=between.isoformat(), line={"color": theme.look().muted, "width": 1, "dash": "dash"})
    drawn.update_xaxes(title_text="when (UTC)", row=max(1, len(shown)), col=1)
    drawn.update_layout(height=180 + 170 * max(1, len(shown)), hovermode="closest")
    return drawn


def _canaries(drawn: go.Figure, mine: Sequence[Canary], name: str, clean: bool, row: int) -> None:
    drawn.add_scatter(
        x=[one.happened_at for one in mine],
        y=[getattr(one, name) for one in mine],
        mode="markers",
        name="clean canary" if clean else "not clean",
        legendgroup=str(clean),
        showlegend=row == 1,
        marker={
            "symbol": "circle" if clean else "x",
            "size": 7 if clean else 10,
            "color": CLASSES[8] if clean else theme.BAD,
        },
        text=[f"{number(getattr(one, name), 5)}<br>{wrapped(one.build)}<br>{wrapped(one.why)}" for one in mine],
        hovertemplate="%{text}<br>%{x}<extra></extra>",
        row=row,
        col=1,
    )


def states(rows: Sequence[Transition], until: datetime) -> go.Figure:
    """Which state it was in when: each as a bar, with the reason beside it."""
    drawn = go.Figure(layout={"height": 300, "hovermode": "closest", "showlegend": False, "barmode": "overlay"})
    ends = [datetime.fromisoformat(row.at) for row in rows[1:]] + [until]
    for state in ORDER:
        mine = [(row, end) for row, end in zip(rows, ends, strict=True) if row.to is state]
        if not mine:
            continue
        x, y = list[str | None](), list[str | None]()
        text = list[str | None]()
        for row, end in mine:
            x += [row.at, end.isoformat(), None]
            y += [str(state), str(state), None]
            text += [f"{row.at[:16].replace('T', ' ')} by {row.by}<br>{wrapped(row.reason)}"] * 2 + [None]
        drawn.add_scatter(
            x=x, y=y, mode="lines+markers", name=str(state), text=text,
            line={"width": 9, "color": COLOURS.get(state, CLASSES[8])}, marker={"size": 5},
            hovertemplate="<b>%{y}</b> since %{text}<extra></extra>",
        )  # fmt: skip
    there = [str(state) for state in ORDER if any(row.to is state for row in rows)]
    drawn.update_yaxes(title_text="state", categoryorder="array", categoryarray=there)
    drawn.update_xaxes(title_text="when (UTC)", type="date")
    return drawn
