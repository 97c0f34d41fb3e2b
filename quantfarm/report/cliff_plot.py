"""Where quality falls off: perplexity by bits per weight, with the cliff shaded."""

# pyright: reportUnknownMemberType=false
# (matplotlib's own annotations leave **kwargs untyped)
from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from quantfarm.candidates import Candidate
from quantfarm.decide.cliff import PLAIN, TOLERATED, Cliff, NoCliff, made_by
from quantfarm.report import drawing
from quantfarm.report.figures import number, share
from quantfarm.report.palette import MUTED, PAPER, SHADE, colour
from quantfarm.report.scene import Point, Range, heading, limits, polyline, ppl_range, sampled_bars
from quantfarm.statistics.increase import base_of, increase
from quantfarm.statistics.resample import key


def cliff_svg(candidates: Sequence[Candidate], found: Cliff | NoCliff, *, subtitle: str = "") -> str:
    """Perplexity by bits per weight, fewer to the right, with the cliff shaded.

    Raises ValueError when fewer than two candidates have a perplexity and a size.
    """
    base = base_of(candidates)
    shown = [c for c in candidates if c.value("ppl") is not None and c.bits_per_weight > 0]
    shown = [c for c in shown if made_by(c.variant) == PLAIN]  # others are other ladders: see the quality plot
    shown = [c for c in shown if base is None or (c.runtime == base.runtime and increase(c, base))]
    shown.sort(key=lambda c: (-c.bits_per_weight, c.variant))
    if len(shown) < 2:
        raise ValueError("nothing to draw: a cliff needs perplexities of at least two sizes")
    with drawing.figure() as (drawn, axes):
        at = [(c.bits_per_weight, c.figures["ppl"].value) for c in shown]
        spans = [ppl_range(c, candidates) for c in shown]
        _bits_axis(axes, [x for x, _ in at], spans)
        levels = _tolerance(axes, base)
        _shade(axes, shown, found)
        axes.plot([x for x, _ in at], [y for _, y in at], color=MUTED, linewidth=1.1, alpha=0.65, zorder=1)
        for candidate, (x, y), span in zip(shown, at, spans, strict=True):
            axes.vlines(x, *span, color=colour(candidate.variant), linewidth=1.5, zorder=3)
            axes.scatter([x], [y], s=70, color=colour(candidate.variant), edgecolor=PAPER, linewidth=0.8, zorder=4)
        axes.set_xlabel("bits per weight (log scale, fewer to the right)", labelpad=6)
        axes.set_ylabel("perplexity (lower is better)", labelpad=6)
        lines = (
            levels
            + polyline(at, logarithmic=True)
            + sampled_bars(at, [((x, x), span) for (x, _), span in zip(at, spans, strict=True)])
        )
        drawing.annotate(drawn, axes, at, [6.5] * len(shown), [_loss_label(c, base) for c in shown], lines)
        foot = "Bars: 95 % interval of the difference to F16 on the same chunks. Dashed: F16, and 2 % above it."
        drawing.title(drawn, heading("Quality by size", shown[0]), subtitle, foot)
        return drawing.svg(drawn)


def _loss_label(candidate: Candidate, base: Candidate | None) -> tuple[str, str]:
    loss = increase(candidate, base) if base is not None and key(base) != key(candidate) else None
    return candidate.name, share(loss.share) if loss else number(candidate.value("ppl"))


def _bits_axis(axes: Axes, bits: Sequence[float], spans: Sequence[Range]) -> None:
    axes.set_xscale("log")
    limits(axes, [(1.0, 1.0)], spans)
    axes.set_xlim(max(bits) * 1.12, min(bits) / 1.12)
    ticks = [t for t in (32, 16, 12, 8, 6, 5, 4, 3, 2, 1.5, 1) if min(bits) / 1.12 <= t <= max(bits) * 1.12]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _tolerance(axes: Axes, base: Candidate | None) -> list[Point]:
    """Dashed lines at the base's perplexity and 2 % above it; points sampled along them."""
    if base is None:
        return []
    value = base.figures["ppl"].value
    levels = (value, value * math.exp(TOLERATED))
    for level in levels:
        axes.axhline(level, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.7, zorder=1)
    left, right = axes.get_xlim()
    return [point for level in levels for point in polyline([(left, level), (right, level)], logarithmic=True)]


def _shade(axes: Axes, shown: Sequence[Candidate], found: Cliff | NoCliff) -> None:
    if isinstance(found, NoCliff):
        return
    bits = {c.variant: c.bits_per_weight for c in shown}
    axes.axvspan(bits[found.above], bits[found.below], color=SHADE, zorder=0)
    middle = math.sqrt(bits[found.above] * bits[found.below])
    axes.text(
        middle, axes.get_ylim()[1], "quality cliff", ha="center", va="top", fontsize=8.5, color=MUTED, style="italic"
    )
