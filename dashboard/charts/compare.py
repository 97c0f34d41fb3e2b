"""B against A, metric by metric: how much better it is, with the interval, coloured and marked by the verdict."""

from __future__ import annotations

import plotly.graph_objects as go

from dashboard import theme
from dashboard.charts import drawing
from dashboard.charts.drawing import plain
from quantfarm.decide.versus import Compared, Comparison, Judged, margin
from quantfarm.report import names
from quantfarm.report.figures import number, share, spread

#: Verdict -> marker, colour: never colour alone.
MARKS = {
    Judged.BETTER: ("triangle-right", theme.GOOD),
    Judged.WORSE: ("triangle-left", theme.BAD),
    Judged.ALIKE: ("square", "#4477AA"),
    Judged.UNDECIDED: ("circle-open", theme.UNSURE),
}
SIGNS = {Judged.BETTER: "▲ better", Judged.WORSE: "▼ worse", Judged.ALIKE: "= alike", Judged.UNDECIDED: "○ undecided"}
ROW, ABOVE = 30, 150


def drawable(found: Comparison) -> list[Compared]:
    """Those told as a share of A's figure: others have units of their own, and stand in the table."""
    return [one for one in found.compared if one.relative]


def figure(found: Comparison) -> go.Figure:
    """A row for each metric; to the right B is better, whichever way the metric counts."""
    drawn = go.Figure()
    drawn.add_vline(x=0, line={"color": theme.look().muted, "width": 1, "dash": "dash"})
    rows = drawable(found)
    for judged, (symbol, colour) in MARKS.items():
        own = [one for one in rows if one.judged is judged]
        if not own:
            continue
        values = [_gain(one, one.change) for one in own]
        drawn.add_scatter(
            x=values,
            y=[plain(names.called(one.metric), 40) for one in own],
            mode="markers",
            marker={"symbol": symbol, "size": 12, "color": colour, "line": {"width": 2, "color": colour}},
            error_x=drawing.bars(values, [_ends(one) for one in own], colour),
            hovertext=[_hover(one, found) for one in own],
            hovertemplate="%{hovertext}<extra></extra>",
            name=judged.value,
        )
    order = [plain(names.called(one.metric), 40) for one in rows]
    drawn.update_xaxes(title="B is better by (%) →", ticksuffix=" %")
    drawn.update_yaxes(categoryorder="array", categoryarray=order[::-1], title="")
    drawn.update_layout(height=ABOVE + ROW * len(rows), showlegend=True)
    return drawn


def _gain(one: Compared, change: float) -> float:
    """In %, positive where B is better."""
    return 100 * change * (1 if names.more_is_better(one.metric) else -1)


def _ends(one: Compared) -> drawing.Range:
    if one.low is None or one.high is None:
        value = _gain(one, one.change)
        return value, value
    low, high = sorted((_gain(one, one.low), _gain(one, one.high)))
    return low, high


def _hover(one: Compared, found: Comparison) -> str:
    lines = [
        f"<b>{plain(names.called(one.metric), 60)}</b>: {one.judged.value}",
        f"{plain(found.a.name)}: {spread(one.a)} {plain(one.unit)}",
        f"{plain(found.b.name)}: {spread(one.b)} {plain(one.unit)}",
        changed(one),
        plain(one.how, 80),
    ]
    return "<br>".join(lines)


def changed(one: Compared) -> str:
    """`+4.2 % (+3.9 % to +4.5 %)` of B against A; of what is no ratio the difference in its unit."""
    if one.relative:
        ends = f" ({share(one.low)} to {share(one.high)})" if one.low is not None and one.high is not None else ""
        return share(one.change) + ends
    unit = "points" if one.unit == "%" else one.unit
    ends = f" ({_signed(one.low)} to {_signed(one.high)})" if one.low is not None and one.high is not None else ""
    return f"{_signed(one.change)} {unit}{ends}".strip()


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(value)


def rows(found: Comparison) -> list[dict[str, object]]:
    """Every metric in full, those refused with the reason."""
    compared: list[dict[str, object]] = [
        {
            "metric": one.metric,
            "a": one.a.value,
            "a_low": one.a.low,
            "a_high": one.a.high,
            "b": one.b.value,
            "b_low": one.b.low,
            "b_high": one.b.high,
            "unit": one.unit,
            "change": one.change,
            "change_low": one.low,
            "change_high": one.high,
            "relative": one.relative,
            "margin": margin(one.metric),
            "p": one.p,
            "how": one.how,
            "verdict": one.judged.value,
            "why": one.why,
        }
        for one in found.compared
    ]
    return compared + [{"metric": m, "verdict": "refused", "why": why} for m, why in found.refusals.items()]
