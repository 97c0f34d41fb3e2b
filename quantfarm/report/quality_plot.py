"""Quality by size over every format: perplexity and KL divergence by bits per weight, and accuracy with intervals."""

# pyright: reportUnknownMemberType=false
# (matplotlib's own annotations leave **kwargs untyped)
from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from quantfarm.candidates import Candidate
from quantfarm.decide.cliff import made_by
from quantfarm.report import columns as named
from quantfarm.report import drawing
from quantfarm.report.columns import TASKS, Column
from quantfarm.report.figures_table import points
from quantfarm.report.palette import MUTED, PAPER, RULE, colour
from quantfarm.report.scene import heading, interval, polyline, sampled_bars
from quantfarm.statistics.increase import UNQUANTIZED, base_of, increase
from quantfarm.statistics.resample import key
from quantfarm.statistics.tasks import differences

#: Way of making -> (marker, what the legend calls it); others take the last marks in turn.
MARKS = {"": ("o", "llama.cpp"), "imatrix": ("D", "llama.cpp, imatrix"), "MLX": ("s", "MLX")}
FURTHER = ("^", "v", "P", "X", "h", "*")
TICKS = (16, 12, 8, 6, 5, 4, 3, 2, 1.5, 1)
Spot = tuple[Candidate, float, tuple[float, float]]


def several_ways(candidates: Sequence[Candidate]) -> bool:
    """Whether formats beside llama.cpp's plain types are there to be compared."""
    return len({made_by(c.variant) for c in candidates if c.bits_per_weight > 0 and _losses(c, candidates)}) > 1


def quality_svg(candidates: Sequence[Candidate], *, subtitle: str = "") -> str:
    """Increase of perplexity over the unquantized model (above) and KL divergence to it (below) by bits per weight.

    Both on logarithmic scales, where a rule of thumb (four times the loss for each bit) is a straight line. Raises
    ValueError where fewer than two quantized variants have one of them.
    """
    panels = [(name, found) for name, found in _panels(candidates) if len(found) > 1]
    if not panels:
        raise ValueError("nothing to draw: no two quantized variants can be compared with the unquantized model")
    ways = sorted({made_by(c.variant) for _, found in panels for c, _, _ in found})
    with drawing.figure(8.2, 1.7 + 3.9 * len(panels)) as (drawn, axes):
        places = _split(drawn, axes, len(panels))
        for place, (name, found) in zip(places, panels, strict=True):
            _panel(drawn, place, name, found, ways)
        places[-1].set_xlabel("bits per weight (log scale, fewer to the right)", labelpad=6)
        _legend(places[0], ways)
        first = panels[0][1][0][0]
        foot = "Bars: 95 % intervals, of perplexity paired chunk by chunk. Lines join what is made in one way."
        drawing.title(drawn, heading("Quality by size, every format", first), subtitle, foot)
        return drawing.svg(drawn)


def _panels(candidates: Sequence[Candidate]) -> list[tuple[str, list[Spot]]]:
    shown = sorted(
        (c for c in candidates if c.bits_per_weight > 0 and c.variant not in UNQUANTIZED),
        key=lambda c: (-c.bits_per_weight, c.variant, c.runtime),
    )
    losses = [(c, loss[0], loss[1]) for c in shown if (loss := _losses(c, candidates))]
    divergences = [
        (c, c.figures["kld_mean"].value, interval(c.figures["kld_mean"])) for c in shown if "kld_mean" in c.figures
    ]
    return [
        ("perplexity above the unquantized model (%)", [one for one in losses if one[1] > 0]),
        ("mean KL divergence to it (nat)", [one for one in divergences if one[1] > 0]),
    ]


def _losses(candidate: Candidate, everyone: Sequence[Candidate]) -> tuple[float, tuple[float, float]] | None:
    """Increase of perplexity in %, with its interval; None for the base and what cannot be compared with it."""
    base = base_of(everyone, candidate.runtime)
    loss = increase(candidate, base) if base is not None and key(base) != key(candidate) else None
    return (100 * loss.share, (100 * math.expm1(loss.low), 100 * math.expm1(loss.high))) if loss else None


def _split(drawn: Figure, axes: Axes, n: int) -> list[Axes]:
    """n panels above each other, sharing the axis of bits."""
    height = drawn.get_figheight()
    top, bottom, gap = 1 - 1.15 / height, 0.85 / height, 0.35 / height
    each = (top - bottom - gap * (n - 1)) / n
    axes.set_position((0.1, top - each, 0.87, each))
    others = [
        drawn.add_axes((0.1, top - each - k * (each + gap), 0.87, each), facecolor=PAPER, sharex=axes)
        for k in range(1, n)
    ]
    for one in others:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(color=RULE, linewidth=0.5, alpha=0.7)
        one.set_axisbelow(True)
        one.tick_params(length=0, pad=6)
    return [axes, *others]


def _panel(drawn: Figure, axes: Axes, name: str, found: Sequence[Spot], ways: Sequence[str]) -> None:
    bits = [c.bits_per_weight for c, _, _ in found]
    values = [value for _, value, _ in found]
    _scales(axes, bits, values)
    floor = axes.get_ylim()[0]
    spans = [(max(low, floor), max(high, value)) for _, value, (low, high) in found]
    at = list(zip(bits, values, strict=True))
    lines: list[tuple[float, float]] = []
    for way in ways:
        own = [point for point, (c, _, _) in zip(at, found, strict=True) if made_by(c.variant) == way]
        axes.plot([x for x, _ in own], [y for _, y in own], color=MUTED, linewidth=1.0, alpha=0.5, zorder=1)
        lines += [(x, y) for x, y in polyline(own, logarithmic=True) if y > 0]
    for (candidate, value, _), span in zip(found, spans, strict=True):
        x, fill = candidate.bits_per_weight, colour(candidate.variant)
        axes.vlines(x, *span, color=fill, linewidth=1.5, zorder=3)
        mark = _mark(made_by(candidate.variant), ways)[0]
        axes.scatter([x], [value], s=58, marker=mark, color=fill, edgecolor=PAPER, linewidth=0.7, zorder=4)
    axes.set_ylabel(name, labelpad=6)
    bars = sampled_bars(at, [((x, x), span) for (x, _), span in zip(at, spans, strict=True)])
    texts = [(c.name, f"{value:.2g}") for c, value, _ in found]
    drawing.annotate(drawn, axes, at, [6.0] * len(at), texts, [*lines, *bars])


def _scales(axes: Axes, bits: Sequence[float], values: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(max(bits) * 1.12, min(bits) / 1.12)
    axes.set_ylim(min(values) / 2.2, max(values) * 2.6)
    ticks = [t for t in TICKS if min(bits) / 1.12 <= t <= max(bits) * 1.12]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _mark(way: str, ways: Sequence[str]) -> tuple[str, str]:
    if way in MARKS:
        return MARKS[way]
    others = [one for one in ways if one not in MARKS]
    return FURTHER[others.index(way) % len(FURTHER)], way


def _legend(axes: Axes, ways: Sequence[str]) -> None:
    for way in ways:
        marker, text = _mark(way, ways)
        axes.scatter([], [], s=40, marker=marker, color=MUTED, label=text)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(ways), frameon=False, fontsize=8)


#: Of a name in the panels' font, as a share of their width.
LETTER = 0.0105


def accuracy_svg(candidates: Sequence[Candidate], *, subtitle: str = "") -> str:
    """One panel for each task's accuracy: each variant's with its interval, largest first, the unquantized one dashed.

    Raises ValueError where no task was measured.
    """
    tasks = [column for column in named.columns(candidates) if column.table == TASKS]
    if not tasks:
        raise ValueError("nothing to draw: no task was measured")
    shown = sorted(
        (c for c in candidates if any(one.metric in c.figures for one in tasks)),
        key=lambda c: (-c.bits_per_weight, c.variant, c.runtime),
    )
    panel = 1.05 + 0.24 * len(shown)
    with drawing.figure(8.2, 1.15 + panel * len(tasks)) as (drawn, axes):
        left = max(0.19, 0.03 + LETTER * max(len(c.name) for c in shown))
        for place, column in zip(_rows(drawn, axes, len(tasks), panel, left), tasks, strict=True):
            _accuracies(place, column, shown)
        foot = (
            "Bars: Wilson's 95 % interval over documents. Dashed: the unquantized model. Δ: percentage points against "
        )
        foot += "it on the same\ndocuments, with the paired bootstrap's 95 % interval."
        if named.few(tasks):
            foot += " ⚠ few documents: not the benchmark's score."
        drawing.title(drawn, heading("Accuracy", shown[0]), subtitle, foot)
        return drawing.svg(drawn)


def _rows(drawn: Figure, axes: Axes, n: int, panel: float, left: float) -> list[Axes]:
    height = drawn.get_figheight()
    found: list[Axes] = []
    for k in range(n):
        bottom = 1 - (0.85 + panel * (k + 1) - 0.4) / height
        place = (left, bottom, 0.75 - left, (panel - 0.75) / height)
        one = axes if k == 0 else drawn.add_axes(place, facecolor=PAPER)
        one.set_position(place)
        one.spines[["top", "right", "left"]].set_visible(False)
        one.grid(axis="x", color=RULE, linewidth=0.5, alpha=0.7)
        one.grid(visible=False, axis="y")
        one.set_axisbelow(True)
        one.tick_params(length=0, pad=6)
        found.append(one)
    return found


def _accuracies(axes: Axes, column: Column, shown: Sequence[Candidate]) -> None:
    rows = [c for c in shown if column.metric in c.figures]
    for at, c in enumerate(rows):
        summary, fill = c.figures[column.metric], colour(c.variant)
        axes.hlines(at, *interval(summary), color=fill, linewidth=1.6, zorder=3)
        axes.scatter([summary.value], [at], s=42, color=fill, edgecolor=PAPER, linewidth=0.7, zorder=4)
        base = base_of(shown, c.runtime, has=lambda one: bool(one.items))
        paired = differences(base, c).get(column.metric) if base is not None else None
        text = f"{summary.value:.1f}" + (f"  Δ {points(paired)}" if paired else "")
        axes.annotate(
            text,
            (1.02, at),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            color=MUTED,
            annotation_clip=False,
        )
    for value in {c.figures[column.metric].value for c in rows if c.variant in UNQUANTIZED}:
        axes.axvline(value, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.7, zorder=1)
    axes.set_yticks(range(len(rows)), [c.name for c in rows], fontsize=8.5)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title(column.heading.replace(" %", " (%)"), loc="left", fontsize=9.5, fontweight="bold", pad=6)
