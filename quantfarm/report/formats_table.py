"""Formats against each other: what each way of quantizing to four bits loses, and what it is in fact."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quantfarm.candidates import Candidate
from quantfarm.decide.cliff import IMATRIX, PLAIN, made_by
from quantfarm.report.figures import NONE, mebibytes, number, share, spread
from quantfarm.report.figures_table import escape
from quantfarm.report.palette import size_class
from quantfarm.statistics.increase import Increase, base_of, increase
from quantfarm.statistics.resample import SPEED

#: Formats of four bits that do not say so in their names.
FOUR_BITS = frozenset({"AWQ", "GPTQ", "RTN"})
HEADINGS = ("variant", "made by", "bits/weight", "size MiB", "perplexity over the unquantized", "decode tok/s", "with")
WAYS = {PLAIN: "llama.cpp", IMATRIX: "llama.cpp, importance matrix"}


def _loss(c: Candidate, everyone: Sequence[Candidate]) -> Increase | None:
    base = base_of(everyone, c.runtime)
    return increase(c, base) if base else None


def four_bits(variant: str) -> bool:
    """By name: what it is in fact differs by what stays larger (embeddings, the output layer, scales)."""
    quant = variant.partition("+")[0]
    return quant in FOUR_BITS or size_class(quant) == 4


def compared(candidates: Sequence[Candidate]) -> list[tuple[Candidate, Increase]]:
    """Variants of four bits with what they lose, the least first; empty where they are of one format alone."""
    found = [(c, loss) for c in candidates if four_bits(c.variant) and (loss := _loss(c, candidates))]
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
    found = compared(candidates)
    if not found:
        return "There are not two formats of 4 bits with a comparable perplexity: how they compare was not measured."
    (best, least), (worst, most) = found[0], found[-1]
    bits = sorted(c.bits_per_weight for c, _ in found)
    return (
        f"Of {len(found)} variants of 4 bits (in fact {number(bits[0])} to {number(bits[-1])} bits per weight: formats "
        f"differ in what they leave larger), {escape(best.name)} loses the least perplexity ({share(least.share)} at "
        f"{number(best.bits_per_weight)} bits) and {escape(worst.name)} the most ({share(most.share)} at "
        f"{number(worst.bits_per_weight)} bits). {_told_apart(least, most)}The runtimes that read them may differ, too."
    )


def _told_apart(least: Increase, most: Increase) -> str:
    return "Their 95 % intervals overlap: which of them loses less is undecided. " if least.high >= most.low else ""
