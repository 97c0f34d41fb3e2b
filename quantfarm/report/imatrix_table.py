"""What an importance matrix brings: each type with one against the same type without, chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quantfarm.candidates import Candidate
from quantfarm.decide.cliff import IMATRIX
from quantfarm.report.figures import NONE, plural, share, spread
from quantfarm.report.figures_table import escape
from quantfarm.statistics.increase import Increase, increase
from quantfarm.statistics.resample import SPEED

HEADINGS = ("type", "perplexity with a matrix against without", "decode tok/s without", "with", "runtime")
NONE_MEASURED = (
    "No type was measured both with and without an importance matrix: what one brings was not measured."
)  # fmt: skip


def pairs(candidates: Sequence[Candidate]) -> list[tuple[Candidate, Candidate, Increase]]:
    """(without, with, the change) by bits per weight, under one runtime each."""
    plain = {(c.runtime, c.variant): c for c in candidates}
    found: list[tuple[Candidate, Candidate, Increase]] = []
    for c in sorted(candidates, key=lambda one: -one.bits_per_weight):
        quant, _, options = c.variant.partition("+")
        without = plain.get((c.runtime, quant))
        if options == IMATRIX and without and (change := increase(c, without)):
            found.append((without, c, change))
    return found


def sentence(candidates: Sequence[Candidate]) -> str:
    found = pairs(candidates)
    if not found:
        return NONE_MEASURED
    better = [without.variant for without, _, change in found if change.high < 0]
    worse = [without.variant for without, _, change in found if change.low > 0]
    said = f"An importance matrix lowers perplexity beyond noise for {_names(better)} of {plural(len(found), 'type')}"
    return f"{said}, and raises it for {_names(worse)}."


def _names(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join(map(escape, names))})" if names else "none"


def table(candidates: Sequence[Candidate]) -> str:
    """Markdown; empty where there is no pair."""
    found = pairs(candidates)
    if not found:
        return ""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---|---|--:|--:|---|"]
    return "\n".join([*lines, *("| " + " | ".join(_cells(*pair)) + " |" for pair in found)])


def _cells(without: Candidate, given: Candidate, change: Increase) -> list[str]:
    low, high = share(math.expm1(change.low)), share(math.expm1(change.high))
    speeds = [spread(s) if (s := c.figures.get(SPEED)) else NONE for c in (without, given)]
    return [
        f"**{escape(without.variant)}**",
        f"{share(change.share)} ({low} to {high})",
        *speeds,
        escape(given.runtime),
    ]
