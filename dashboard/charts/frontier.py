"""Quality by speed (or memory): points with intervals, the frontier's line, what is beaten dimmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboard import theme
from dashboard.charts import drawing
from dashboard.charts.drawing import Range, plain
from quantfarm.candidates import Candidate
from quantfarm.report import names
from quantfarm.report.figures import probability, spread
from quantfarm.report.scene import interval, ppl_range, sampled_bars
from quantfarm.statistics.frontier import Frontier, Standing
from quantfarm.statistics.resample import MEMORY, key

#: Diameters in pixels of the least and the most of what the size shows.
SMALLEST, LARGEST = 11.0, 26.0
DIMMED = 0.3
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "star", "hexagon", "cross")
#: Launches from which a median has a 95 % interval.
ENOUGH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """`across` and `size` are the frontier's speed and memory, or the other way round. Ranges shared by small
    multiples: of values, and of what the sizes show."""

    across: str
    size: str
    x: Range
    y: Range
    sizes: Range


def axes(frontiers: Sequence[Frontier], memory_across: bool) -> Axes:
    """That hold every point of every frontier. Raises ValueError where there is none."""
    shown = [(one, standing.candidate) for one in frontiers for standing in one.standings]
    if not shown:
        raise ValueError("nothing to draw: no candidate can be compared")
    across, size = (MEMORY, shown[0][0].speed) if memory_across else (shown[0][0].speed, MEMORY)
    sizes = [c.figures[size].value for _, c in shown]
    return Axes(
        across=across,
        size=size,
        x=drawing.padded([interval(c.figures[across]) for _, c in shown]),
        y=drawing.padded([_up(one, c) for one, c in shown], 0.14),
        sizes=(min(sizes), max(sizes)),
    )


def figure(frontier: Frontier, on: Axes, chosen: Candidate | None = None, *, narrow: bool = False) -> go.Figure:
    """One device's; `narrow` beside another's. Better is up; to the right where speed lies across, else to the left."""
    drawn = go.Figure()
    _line(drawn, frontier, on)
    _points(drawn, frontier, on, chosen)
    _labels(drawn, frontier, on, chosen, narrow)
    units = _units(frontier)
    low, high = on.y
    upside_down = names.more_is_better(frontier.quality) is False
    drawn.update_xaxes(title=names.axis(on.across, units.get(on.across, "")), range=list(on.x))
    drawn.update_yaxes(
        title=names.axis(frontier.quality, units.get(frontier.quality, "")),
        range=[high, low] if upside_down else [low, high],
    )
    runtimes = _runtimes(frontier)
    drawing.legend(
        drawn, [plain(one) for one in runtimes], [_symbol(one, runtimes) for one in runtimes], theme.look().muted
    )
    drawn.update_layout(height=480, showlegend=len(runtimes) > 1, clickmode="event+select")
    better = "↖ better" if on.across == MEMORY else "better ↗"
    drawn.add_annotation(text=better, x=1, y=1.0, xref="paper", yref="paper", showarrow=False, yshift=12)
    return drawn


def legend(frontier: Frontier, on: Axes, *, chosen: bool) -> str:
    """What marks, lines and bars mean; `chosen`: whether there is a default."""
    launches = min(s.candidate.figures[frontier.speed].n for s in frontier.standings)
    bars = "95 % interval over launches" if launches >= ENOUGH else "spread over launches (1.48 × MAD)"
    up = "of the difference to the unquantized model on the same chunks" if frontier.quality == "ppl" else "of its own"
    best = "within each memory" if on.across == MEMORY else "at each speed"
    said = [
        *(["★ the default"] if chosen else []),
        f"dotted: the best {names.called(frontier.quality)} {best}",
        f"size: {names.called(on.size)}",
        "pale: dominated",
        f"bars: {bars}, upwards the 95 % interval {up}",
        "click a point for its measurement",
    ]
    return " · ".join(said)


def rows(frontier: Frontier) -> list[dict[str, object]]:
    """What the plot shows, one row for each candidate; those that could not be compared with the reason."""
    found = [_row(s.candidate, frontier, s) for s in frontier.standings]
    return found + [_row(c, frontier) | {"remark": why} for c, why in frontier.left_out]


def _row(c: Candidate, frontier: Frontier, standing: Standing | None = None) -> dict[str, object]:
    row: dict[str, object] = {"device": c.device, "model": c.model, "variant": c.variant, "runtime": c.runtime}
    for metric in (frontier.speed, MEMORY, frontier.quality):
        summary = c.figures.get(metric)
        row |= {
            metric: summary.value if summary else None,
            f"{metric}_low": summary.low if summary else None,
            f"{metric}_high": summary.high if summary else None,
            f"{metric}_n": summary.n if summary else None,
            f"{metric}_unit": c.units.get(metric, ""),
        }
    row["probability_non_dominated"] = standing.probability if standing else None
    row["on_frontier"] = standing.on_frontier if standing else None
    row["dominated_by"] = ", ".join(w.name for w in standing.dominated_by) if standing else ""
    row["remark"] = standing.remark if standing else ""
    return row | {"build": c.build, "artifact": c.artifact, "simulated": c.simulated}


def _units(frontier: Frontier) -> Mapping[str, str]:
    return {metric: unit for s in frontier.standings for metric, unit in s.candidate.units.items()}


def _up(frontier: Frontier, candidate: Candidate) -> Range:
    """The vertical bar: of perplexity the interval of the difference to the unquantized model."""
    if frontier.quality == "ppl":
        everyone = [s.candidate for s in frontier.standings] + [c for c, _ in frontier.left_out]
        return ppl_range(candidate, everyone)
    return interval(candidate.figures[frontier.quality])


def _at(candidate: Candidate, frontier: Frontier, on: Axes) -> tuple[float, float]:
    return candidate.figures[on.across].value, candidate.figures[frontier.quality].value


def _line(drawn: go.Figure, frontier: Frontier, on: Axes) -> None:
    """The staircase: the best quality that is to be had at each speed, or within each memory."""
    up = names.more_is_better(frontier.quality)
    best_first = sorted(
        (_at(s.candidate, frontier, on) for s in frontier.members), key=lambda p: p[0], reverse=on.across != MEMORY
    )
    steps: list[tuple[float, float]] = []
    for x, y in best_first:
        if not steps or (y > steps[-1][1] if up else y < steps[-1][1]):
            steps += [(x, steps[-1][1])] if steps else []
            steps.append((x, y))
    drawn.add_scatter(
        x=[x for x, _ in steps],
        y=[y for _, y in steps],
        mode="lines",
        line={"color": theme.look().muted, "width": 1.4, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
        name="frontier",
    )


def _points(drawn: go.Figure, frontier: Frontier, on: Axes, chosen: Candidate | None) -> None:
    """One trace for each point: bars take one colour per trace."""
    traces: list[go.Scatter] = []
    look = theme.look()
    runtimes = _runtimes(frontier)
    for standing in sorted(frontier.standings, key=lambda s: s.probability):
        c = standing.candidate
        (x, y), fill = _at(c, frontier, on), theme.colour(c.variant)
        best = chosen is not None and key(chosen) == key(c)
        traces.append(
            go.Scatter(
                x=[x],
                y=[y],
                mode="markers",
                marker={
                    "color": fill,
                    "size": _size(c, on),
                    "symbol": _symbol(c.runtime, runtimes),
                    "line": {"color": look.ink if best else look.paper, "width": 2.5 if best else 1},
                },
                opacity=1.0 if standing.on_frontier else DIMMED + 0.3 * standing.probability,
                error_x=drawing.bars([x], [interval(c.figures[on.across])], fill),
                error_y=drawing.bars([y], [_up(frontier, c)], fill),
                customdata=[key(c)],
                hovertemplate=_hover(standing, frontier, on) + "<extra></extra>",
                name=plain(c.runtime),
                showlegend=False,
            )
        )
    drawn.add_traces(traces)


def _symbol(runtime: str, runtimes: Sequence[str]) -> str:
    return SYMBOLS[runtimes.index(runtime) % len(SYMBOLS)]


def _runtimes(frontier: Frontier) -> list[str]:
    return sorted({s.candidate.runtime for s in frontier.standings})


def _size(candidate: Candidate, on: Axes) -> float:
    least, most = on.sizes
    share = (candidate.figures[on.size].value - least) / (most - least) if most > least else 0.3
    return SMALLEST + (LARGEST - SMALLEST) * share


def _hover(standing: Standing, frontier: Frontier, on: Axes) -> str:
    c = standing.candidate
    lines = [f"<b>{plain(c.name, 60)}</b> {plain(c.runtime)}"]
    for metric in (on.across, on.size, frontier.quality):
        s = c.figures[metric]
        lines.append(f"{plain(names.called(metric), 60)}: {spread(s)} {c.units.get(metric, '')}, n = {s.n}")
    lines.append(f"P(non-dominated) {probability(standing.probability)}")
    if standing.dominated_by:
        lines.append("dominated by " + ", ".join(plain(w.name, 40) for w in standing.dominated_by[:3]))
    return "<br>".join(lines)


def _labels(drawn: go.Figure, frontier: Frontier, on: Axes, chosen: Candidate | None, narrow: bool) -> None:
    """The frontier's first, as many as there is room for; markers tell runtimes apart."""
    most, width = (drawing.NAMED_NARROW, drawing.NARROW) if narrow else (drawing.NAMED, drawing.WIDTH)
    said = sorted(frontier.standings, key=lambda s: (not s.on_frontier, -s.probability))[:most]
    at = [_at(s.candidate, frontier, on) for s in said]
    stars = ["★ " if chosen is not None and key(chosen) == key(s.candidate) else "" for s in said]
    texts = [f"{star}{s.candidate.variant}"[: drawing.LONGEST] for star, s in zip(stars, said, strict=True)]
    flip = names.more_is_better(frontier.quality) is False

    def upright(y: float) -> float:
        return on.y[0] + on.y[1] - y if flip else y

    points = [(x, upright(y)) for x, y in at]
    spans = [_up(frontier, s.candidate) for s in said]
    bars = sampled_bars(
        points,
        [
            (interval(s.candidate.figures[on.across]), (upright(low), upright(high)))
            for s, (low, high) in zip(said, spans, strict=True)
        ],
    )
    apart = drawing.beside(points, texts, [_size(s.candidate, on) / 2 for s in said], on.x, on.y, bars, width)
    drawing.annotate(
        drawn,
        [
            {
                "x": x,
                "y": y,
                "text": plain(star + standing.candidate.variant),
                "showarrow": False,
                "xshift": right,
                "yshift": up,
                "font": {"size": 12, "color": theme.look().ink if standing.on_frontier else theme.look().muted},
            }
            for standing, star, (x, y), (right, up) in zip(said, stars, at, apart, strict=True)
        ],
    )
