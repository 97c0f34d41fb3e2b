"""Formats against each other: what each way of making a variant loses at about as many bits per weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quantfarm.candidates import Candidate
from quantfarm.decide.cliff import IMATRIX, PLAIN, made_by
from quantfarm.report.figures import NONE, mebibytes, number, share, spread
from quantfarm.report.figures_table import escape
from quantfarm.statistics.increase import UNQUANTIZED, Increase, base_of, increase
from quantfarm.statistics.resample import SPEED

#: Bits per weight that count as about four.
FOUR_BITS = (4.0, 5.5)
HEADINGS = ("variant", "made by", "bits/weight", "size MiB", "perplexity over the unquantized", "decode tok/s", "with")
WAYS = {PLAIN: "llama.cpp", IMATRIX: "llama.cpp, importance matrix"}


def _loss(c: Candidate, everyone: Sequence[Candidate]) -> Increase | None:
    base = base_of(everyone, c.runtime)
    return increase(c, base) if base else None


def compared(candidates: Sequence[Candidate]) -> list[tuple[Candidate, Increase]]:
    """Variants of about four bits with what they lose, the least first; empty where they are of one format alone."""
    found = [
        (c, loss)
        for c in candidates
        if c.variant not in UNQUANTIZED
        and FOUR_BITS[0] <= c.bits_per_weight <= FOUR_BITS[1]
        and (loss := _loss(c, candidates))
    ]
    return sorted(found, key=lambda pair: pair[1].nats) if len({made_by(c.variant) for c, _ in found}) > 1 else []


def table(candidates: Sequence[Candidate]) -> str:
    """Markdown; empty where there is nothing to compare."""
    found = compared(candidates)
    if not found:
        return ""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---|---|--:|--:|---|--:|---|"]
    return "\n".join([*lines, *("| " + " | ".join(_cells(c, loss)) + " |" for c, loss in found)])


def _cells(c: Candidate, loss: Increase) -> list[str]:
    way = made_by(c.variant)
    speed = c.figures.get(SPEED)
    low, high = share(math.expm1(loss.low)), share(math.expm1(loss.high))
    return [
        f"**{escape(c.name)}**",
        escape(WAYS.get(way, way)),
        number(c.bits_per_weight),
        mebibytes(c.size) if c.size else NONE,
        f"{share(loss.share)} ({low} to {high})",
        spread(speed) if speed else NONE,
        escape(c.build or c.runtime),
    ]


def sentence(candidates: Sequence[Candidate]) -> str:
    """Who loses least and most of them."""
    found, between = compared(candidates), f"between {FOUR_BITS[0]:g} and {FOUR_BITS[1]:g} bits per weight"
    if not found:
        return f"There are not two formats with a comparable perplexity {between}: how they compare was not measured."
    (best, least), (worst, most) = found[0], found[-1]
    return (
        f"Of {len(found)} variants {between}, {escape(best.name)} loses the least perplexity ({share(least.share)} at "
        f"{number(best.bits_per_weight)} bits) and {escape(worst.name)} the most ({share(most.share)} at "
        f"{number(worst.bits_per_weight)} bits). Their bits differ, and so may the runtimes that read them."
    )
