"""The quality cliff: the step down in bits per weight after which quality is lost out of proportion.

Quantization noise grows about fourfold with every bit taken away, so a loss that grows is nothing special
and a rule on its growth alone fires anywhere or nowhere. What a user asks is: down to where are bits nearly
free, and where do they begin to cost? So, going down a ladder of variants, the cliff is the first step that

1. ends more than 2 % above the unquantized perplexity, beyond that increase's 95 % interval,
2. adds more than 2 % by itself, and its own increase's 95 % interval lies above zero,
3. costs at least 2 % of perplexity per bit per weight saved, and
4. costs, per bit, at least 4 times what the bits saved before it cost on average.

2 keeps a small step that happens to cross the line from being called a cliff, 4 an evenly rising loss; and
by 4 the first step, with nothing before it, is never one. Rungs that a smaller variant equals or beats are
taken out of the ladder first: they are bad quantizations, not a cost of bits.

A ladder is of variants made in one way: llama.cpp's types as they are, the same with an importance matrix (the IQ
types are always), MLX's. Mixed, the step from the last rung with a matrix to the first without would be taken for a
cost of bits. What the matrix brings is told rung by rung instead.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quantfarm.candidates import Candidate
from quantfarm.report.figures import share
from quantfarm.statistics.increase import UNQUANTIZED, Increase, base_of, increase

TOLERATED = math.log(1.02)  # nats, over the unquantized model
PER_BIT = math.log(1.02)  # nats per bit per weight
DISPROPORTION = 4.0
#: Rungs closer than this, in bits per weight, are one rung.
SAME_BITS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A variant on the ladder: what it has in bits, and what it loses over the unquantized model."""

    name: str
    bits: float
    loss: Increase


@dataclass(frozen=True, slots=True, kw_only=True)
class Cliff:
    """Between `above`, the last good variant, and `below`. Shares: 0.04 is 4 % more perplexity than F16."""

    above: str
    below: str
    share_above: float
    share_below: float
    bits_saved: float
    times: float  # cost per bit of this step ÷ average cost per bit before it; inf where that was nothing
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCliff:
    """Falsy, with the reason."""

    sentence: str

    def __bool__(self) -> bool:
        return False


#: How variants are made that no name below says: llama.cpp's types as they are.
PLAIN = ""
IMATRIX = "imatrix"


def made_by(variant: str) -> str:
    """The way of making that a variant's rungs share: `imatrix`, `MLX`, `AWQ` …; empty for llama.cpp's own types."""
    quant, _, options = variant.partition("+")
    if IMATRIX in options.split("+"):
        return IMATRIX
    if quant in UNQUANTIZED or re.match(r"I?Q\d|TQ\d|MXFP", quant):
        return PLAIN
    return quant.partition("-")[0]


def cliff(candidates: Sequence[Candidate], way: str = PLAIN) -> Cliff | NoCliff:
    """The cliff of one model of variants made in one way, under one runtime: the base's, or where they are of others
    the one that most of them have."""
    own = [c for c in candidates if made_by(c.variant) == way or c.variant in UNQUANTIZED]
    often = Counter(c.runtime for c in own if c.variant not in UNQUANTIZED)
    usual = max(sorted(often), key=often.__getitem__) if often else None
    base = base_of(candidates, usual if way else None)
    if base is None:
        return NoCliff(sentence="No quality cliff can be told: the unquantized model's perplexity was not measured.")
    runtime = usual if usual and base.runtime not in often else base.runtime
    by_name = {c.variant: c for c in own if c.runtime == runtime and c.bits_per_weight > 0}
    by_name[base.variant] = base
    rungs = [
        Rung(name=name, bits=c.bits_per_weight, loss=loss) for name, c in by_name.items() if (loss := increase(c, base))
    ]

    def between(above: str, below: str) -> Increase:
        step = increase(by_name[below], by_name[above])
        assert step is not None  # both are comparable to the base
        return step

    return find(rungs, base.variant, between)


def further(candidates: Sequence[Candidate]) -> list[str]:
    """A sentence for each further ladder of at least two quantized sizes, and for what a matrix brings each rung."""
    ways = {made_by(c.variant) for c in candidates if c.value("ppl") is not None} - {PLAIN}
    several = [way for way in sorted(ways) if len({c.variant for c in candidates if made_by(c.variant) == way}) > 1]
    said = [f"{NAMES.get(way, way)}: {cliff(candidates, way).sentence}" for way in several]
    return said + (
        [f"An importance matrix changes perplexity by {', '.join(brought)}."]
        if (brought := _rung_by_rung(candidates))
        else []
    )


#: Ways of making, as a sentence begins with them.
NAMES = {IMATRIX: "With an importance matrix"}


def _rung_by_rung(candidates: Sequence[Candidate]) -> list[str]:
    """`-1.2 % (-1.6 % to -0.8 %) of Q4_K_M`: each type with a matrix against the same without."""
    plain = {(c.runtime, c.variant): c for c in candidates}
    found: list[str] = []
    for c in candidates:
        quant, _, options = c.variant.partition("+")
        other = plain.get((c.runtime, quant))
        if options == IMATRIX and other and (change := increase(c, other)):
            interval = f"{share(math.expm1(change.low))} to {share(math.expm1(change.high))}"
            found.append(f"{share(change.share)} ({interval}) at {quant}")
    return found


def find(rungs: Sequence[Rung], base: str, between: Callable[[str, str], Increase]) -> Cliff | NoCliff:
    """The cliff on a ladder that starts at `base`; `between` gives the increase of one step."""
    steps = ladder(rungs, base)
    if len(steps) < 3:
        return NoCliff(
            sentence=f"No quality cliff can be told from {len(steps)} size{'s' if len(steps) != 1 else ''}"
            " with a comparable perplexity: at least 3 are needed, the unquantized one among them."
        )
    for above, below in itertools.pairwise(steps[1:]):  # the first step has nothing before it to compare with
        if found := _judge(steps[0], above, below, between(above.name, below.name)):
            return found
    last = steps[-1]
    return NoCliff(
        sentence=f"No quality cliff down to {last.name} ({last.bits:.1f} bits per weight): "
        f"perplexity there is {share(last.loss.share)} against {base}, without a step out of proportion."
    )


def ladder(rungs: Sequence[Rung], base: str) -> list[Rung]:
    """From the base down: one rung per size, without those that a smaller variant equals or beats."""
    start = next((r for r in rungs if r.name == base), None)
    kept: list[Rung] = []
    for rung in sorted((r for r in rungs if r.name != base), key=lambda r: (r.bits, r.loss.nats)):  # from below
        if all(rung.loss.nats < smaller.loss.nats for smaller in kept) and (
            start is None or rung.bits < start.bits - SAME_BITS
        ):
            if kept and rung.bits - kept[-1].bits < SAME_BITS:
                kept.pop()  # nearly the same size and better
            kept.append(rung)
    return ([start] if start else []) + kept[::-1]


def _judge(base: Rung, above: Rung, below: Rung, step: Increase) -> Cliff | None:
    before = max(above.loss.nats, 0.0) / (base.bits - above.bits)
    cost = step.nats / (above.bits - below.bits)
    if min(below.loss.nats, step.nats) <= TOLERATED or not (below.loss.beyond_noise and step.beyond_noise):
        return None
    if cost < PER_BIT or cost < DISPROPORTION * before:
        return None
    times = cost / before if before > 0 else math.inf
    saved = above.bits - below.bits
    return Cliff(
        above=above.name,
        below=below.name,
        share_above=above.loss.share,
        share_below=below.loss.share,
        bits_saved=saved,
        times=times,
        sentence=f"The quality cliff lies between {above.name} and {below.name}: perplexity goes from "
        f"{share(above.loss.share)} to {share(below.loss.share)} against {base.name} for {saved:.2f} bits per weight, "
        f"{_times(times)} per bit what the bits saved above it cost.",
    )


def _times(times: float) -> str:
    return f"{times:.0f} times" if times < 1000 else "over 1000 times"
