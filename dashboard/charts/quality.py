"""Quality by bits per weight with the cliff, and each task's difference to the unquantized model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboard import theme
from dashboard.charts import drawing
from dashboard.charts.drawing import Range, plain
from quantfarm.candidates import Candidate
from quantfarm.decide.cliff import IMATRIX, PLAIN, TOLERATED, Cliff, NoCliff, made_by
from quantfarm.report import names
from quantfarm.report.figures import number, spread
from quantfarm.report.scene import interval, ppl_range, sampled_bars
from quantfarm.statistics.increase import UNQUANTIZED, base_of, increase
from quantfarm.statistics.resample import key
from quantfarm.statistics.tasks import Difference

WAYS = {PLAIN: "llama.cpp", IMATRIX: "llama.cpp, imatrix"}
SYMBOLS = {PLAIN: "circle", IMATRIX: "diamond"}
FURTHER = ("square", "triangle-up", "triangle-down", "star", "hexagon", "cross")
TICKS = (32, 16, 12, 8, 6, 5, 4, 3, 2, 1.5, 1)
ROW, ABOVE = 26, 130


def shown_by(everyone: Sequence[Candidate], metric: str) -> list[Candidate]:
    """Those with the metric and a known size, the largest first."""
    found = [c for c in everyone if c.bits_per_weight > 0 and metric in c.figures]
    return sorted(found, key=lambda c: (-c.bits_per_weight, c.variant, c.runtime))


def by_bits(
    everyone: Sequence[Candidate], metric: str, cliff: Cliff | NoCliff, *, as_increase: bool = False
) -> go.Figure:
    """Fewer bits to the right. `as_increase`: of perplexity, what it is above the unquantized model's, on a
    logarithmic scale. Raises ValueError where nobody has the metric and a size."""
    spots = _spots(everyone, metric, as_increase)
    if not spots:
        raise ValueError("nothing to draw: no variant has this figure and a known size")
    logarithmic = (as_increase or metric == "kld_mean") and all(spot.value > 0 for spot in spots)
    drawn = go.Figure()
    if not logarithmic:
        _levels(drawn, everyone, metric)
    view = _view(spots, logarithmic)
    _cliff(drawn, spots, cliff)
    _matrix_pairs(drawn, spots)
    _ladders(drawn, spots)
    _points(drawn, spots, metric)
    _labels(drawn, spots, view)
    ticks = [t for t in TICKS if -view.x[1] <= math.log10(t) <= -view.x[0]]
    drawn.update_xaxes(
        title="bits per weight (log scale, fewer to the right)", type="log", range=[-view.x[0], -view.x[1]],
        tickvals=ticks, ticktext=[f"{t:g}" for t in ticks],
    )  # fmt: skip
    unit = next((s.candidate.units.get(metric, "") for s in spots), "")
    title = "increase of perplexity (%, lower is better)" if as_increase else names.axis(metric, unit)
    kind = "log" if logarithmic else "linear"
    drawn.update_yaxes(title=title + (", log scale" if logarithmic else ""), type=kind, range=list(view.y))
    if logarithmic:
        drawn.update_yaxes(dtick=1)
    drawn.update_layout(height=500, showlegend=len({made_by(s.candidate.variant) for s in spots}) > 1)
    return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A variant's place over its bits: its value and bar, as they are drawn."""

    candidate: Candidate
    value: float
    span: Range

    @property
    def bits(self) -> float:
        return self.candidate.bits_per_weight


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is in sight, in the axes' own coordinates: x is -log10(bits), y its log10 where the axis is logarithmic."""

    x: Range
    y: Range
    logarithmic: bool

    def at(self, bits: float, value: float) -> tuple[float, float]:
        return -math.log10(bits), math.log10(value) if self.logarithmic else value


def _view(spots: Sequence[Spot], logarithmic: bool) -> View:
    def up(value: float) -> float:
        return math.log10(value) if logarithmic else value

    least = min(spot.value for spot in spots) / 2  # an interval that reaches zero has no end on a logarithmic axis
    ends = [(up(max(s.span[0], least)), up(s.span[1])) if logarithmic else s.span for s in spots]
    across = [(-math.log10(s.bits), -math.log10(s.bits)) for s in spots]
    return View(x=drawing.padded(across, 0.08), y=drawing.padded(ends, 0.12), logarithmic=logarithmic)


def _spots(everyone: Sequence[Candidate], metric: str, as_increase: bool) -> list[Spot]:
    shown = shown_by(everyone, metric)
    if as_increase:
        return [spot for c in shown if (spot := _above(c, everyone)) and spot.value > 0]
    if metric == "kld_mean":  # of the unquantized model to itself it is nothing
        shown = [c for c in shown if c.variant not in UNQUANTIZED] or shown
    return [Spot(candidate=c, value=c.figures[metric].value, span=_span(c, metric, everyone)) for c in shown]


def _above(candidate: Candidate, everyone: Sequence[Candidate]) -> Spot | None:
    base = base_of(everyone, candidate.runtime)
    loss = increase(candidate, base) if base is not None and key(base) != key(candidate) else None
    if loss is None:
        return None
    span = (100 * math.expm1(loss.low), 100 * math.expm1(loss.high))
    return Spot(candidate=candidate, value=100 * loss.share, span=span)


def _span(candidate: Candidate, metric: str, everyone: Sequence[Candidate]) -> Range:
    return ppl_range(candidate, everyone) if metric == "ppl" else interval(candidate.figures[metric])


def _levels(drawn: go.Figure, everyone: Sequence[Candidate], metric: str) -> None:
    """The unquantized model's, dashed; of perplexity also the 2 % above that a cliff must pass."""
    base = base_of(everyone, has=lambda c: metric in c.figures)
    if base is None or metric == "kld_mean":
        return
    muted, value = theme.look().muted, base.figures[metric].value
    drawn.add_hline(y=value, line={"color": muted, "width": 1, "dash": "dash"})
    if metric == "ppl":
        drawn.add_hline(y=value * (1 + TOLERATED), line={"color": muted, "width": 1, "dash": "dot"})


def _cliff(drawn: go.Figure, spots: Sequence[Spot], cliff: Cliff | NoCliff) -> None:
    """Shaded from the last good variant to the first bad one."""
    if not isinstance(cliff, Cliff):
        return
    bits = {spot.candidate.variant: spot.bits for spot in spots}
    if cliff.above in bits and cliff.below in bits:
        ends = {"x0": bits[cliff.above], "x1": bits[cliff.below]}
        drawn.add_shape(
            type="rect", **ends, y0=0, y1=1, yref="paper", fillcolor=theme.look().shade, line_width=0, layer="below"
        )
        middle = math.log10(math.sqrt(ends["x0"] * ends["x1"]))
        drawn.add_annotation(x=middle, y=1, yref="paper", text="cliff", showarrow=False, yshift=12)


def _ladders(drawn: go.Figure, spots: Sequence[Spot]) -> None:
    """A line along what is made in one way under one runtime."""
    for way, runtime in sorted({(made_by(s.candidate.variant), s.candidate.runtime) for s in spots}):
        own = [s for s in spots if (made_by(s.candidate.variant), s.candidate.runtime) == (way, runtime)]
        _line(drawn, own, {"color": theme.look().muted, "width": 1}, 0.45)


def _matrix_pairs(drawn: go.Figure, spots: Sequence[Spot]) -> None:
    """Each type joined with itself made with an importance matrix."""
    known = {(s.candidate.runtime, s.candidate.variant): s for s in spots}
    for spot in spots:
        quant, _, options = spot.candidate.variant.partition("+")
        other = known.get((spot.candidate.runtime, quant))
        if options == IMATRIX and other is not None:
            _line(drawn, [other, spot], {"color": theme.colour(quant), "width": 2.5, "dash": "dot"}, 1.0)


def _line(drawn: go.Figure, spots: Sequence[Spot], line: dict[str, object], opacity: float) -> None:
    drawn.add_scatter(
        x=[s.bits for s in spots], y=[s.value for s in spots], mode="lines", line=line, opacity=opacity,
        hoverinfo="skip", showlegend=False,
    )  # fmt: skip


def _points(drawn: go.Figure, spots: Sequence[Spot], metric: str) -> None:
    ways = sorted({made_by(s.candidate.variant) for s in spots})
    marks = itertools.cycle(FURTHER)
    symbols = {way: SYMBOLS.get(way) or next(marks) for way in ways}
    traces: list[go.Scatter] = []
    edge = {"color": theme.look().paper, "width": 1}
    for spot in spots:
        way, fill = made_by(spot.candidate.variant), theme.colour(spot.candidate.variant)
        traces.append(
            go.Scatter(
                x=[spot.bits],
                y=[spot.value],
                mode="markers",
                marker={"color": fill, "size": 12, "symbol": symbols[way], "line": edge},
                error_y=drawing.bars([spot.value], [spot.span], fill),
                hovertemplate=_hover(spot.candidate, metric) + "<extra></extra>",
                customdata=[key(spot.candidate)],
                name=WAYS.get(way, plain(way)),
                showlegend=False,
            )
        )
    drawn.add_traces(traces)
    drawing.legend(drawn, [WAYS.get(w, plain(w)) for w in ways], [symbols[w] for w in ways], theme.look().muted)


def _labels(drawn: go.Figure, spots: Sequence[Spot], view: View) -> None:
    spots = spots[: drawing.NAMED]
    at = [view.at(s.bits, s.value) for s in spots]
    texts = [s.candidate.name[: drawing.LONGEST] for s in spots]
    least = min(s.value for s in spots) / 2
    spans = [(max(s.span[0], least), s.span[1]) if view.logarithmic else s.span for s in spots]
    ends = [(view.at(s.bits, low)[1], view.at(s.bits, high)[1]) for s, (low, high) in zip(spots, spans, strict=True)]
    upright = sampled_bars(at, [((x, x), end) for (x, _), end in zip(at, ends, strict=True)])
    apart = drawing.beside(at, texts, [6.0] * len(spots), view.x, view.y, upright)
    font = {"size": 11, "color": theme.look().ink}
    drawing.annotate(
        drawn,
        [
            {"x": -x, "y": y, "text": plain(spot.candidate.name), "showarrow": False, "xshift": right, "yshift": up}
            | {"font": font}
            for spot, (x, y), (right, up) in zip(spots, at, apart, strict=True)
        ],
    )


def _hover(c: Candidate, metric: str) -> str:
    s = c.figures[metric]
    lines = [
        f"<b>{plain(c.name, 60)}</b> {plain(c.runtime)}",
        f"{plain(names.called(metric), 60)}: {spread(s)} {c.units.get(metric, '')}, n = {s.n}",
        f"{number(c.bits_per_weight)} bits per weight",
    ]
    return "<br>".join(lines)


def difference_plot(found: Sequence[Difference]) -> go.Figure:
    """Of one task: a row for each variant, its difference with the paired interval; zero is the unquantized model."""
    drawn = go.Figure()
    drawn.add_vline(x=0, line={"color": theme.look().muted, "width": 1, "dash": "dash"})
    for one in found:
        p, fill = one.paired, theme.colour(one.candidate.variant)
        drawn.add_scatter(
            x=[p.delta],
            y=[plain(one.candidate.name)],
            mode="markers",
            marker={"color": fill, "size": 11},
            error_x=drawing.bars([p.delta], [(p.low, p.high)], fill),
            hovertemplate=f"{plain(one.candidate.name, 60)}: {p.delta:+.1f} ({p.low:+.1f} to {p.high:+.1f}) points<br>"
            f"McNemar p = {p_value(p.p)}, {p.n} documents<extra></extra>",
            showlegend=False,
        )
    drawn.update_xaxes(title="difference of accuracy (percentage points, more is better)")
    drawn.update_yaxes(autorange="reversed", title="")
    drawn.update_layout(height=ABOVE + ROW * len(found))
    return drawn


def p_value(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def rows(everyone: Sequence[Candidate], metric: str) -> list[dict[str, object]]:
    """What the plot by bits shows."""
    found: list[dict[str, object]] = []
    for c in shown_by(everyone, metric):
        s, base = c.figures[metric], base_of(everyone, c.runtime)
        loss = increase(c, base) if metric == "ppl" and base is not None and key(base) != key(c) else None
        found.append(
            {
                "device": c.device,
                "model": c.model,
                "variant": c.variant,
                "runtime": c.runtime,
                "build": c.build,
                "bits_per_weight": c.bits_per_weight,
                metric: s.value,
                "low": s.low,
                "high": s.high,
                "n": s.n,
                "unit": c.units.get(metric, ""),
                "increase": loss.share if loss else None,
                "text_sha256": c.text_sha256,
                "chunks": len(c.chunk_nll),
                "workload": c.workloads.get(metric, ""),
                "remark": c.remarks.get(metric, ""),
                "artifact": c.artifact,
                "simulated": c.simulated,
            }
        )
    return found
