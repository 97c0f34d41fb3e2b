"""What in the figures of a device and model is not as names and sizes lead one to expect. Each rule is one function.

A rule speaks of what is beyond the noise alone: intervals that do not overlap, or paired differences without zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from quantfarm.candidates import Candidate
from quantfarm.report.columns import TASKS, columns, few
from quantfarm.report.figures import number, plural, share, spread
from quantfarm.report.palette import size_class
from quantfarm.statistics.dominance import MEMORY_MARGIN
from quantfarm.statistics.increase import UNQUANTIZED, base_of, increase
from quantfarm.statistics.resample import MEMORY, SPEED, key
from quantfarm.statistics.tasks import differences

#: Variants closer than this in bits per weight are of one size.
SAME_BITS = 0.1
#: Bits per weight beyond what the name says, from which on that is told.
MORE_THAN_SAID = 0.75

Group = Sequence[Candidate]


def surprises(candidates: Group) -> list[str]:
    """Plain sentences, of candidates of one device and model; empty where nothing is surprising."""
    ordered = sorted(candidates, key=lambda c: (-c.bits_per_weight, c.variant, c.runtime))
    return [said for rule in RULES for said in rule(ordered)]


def _smaller(candidates: Group) -> Iterator[tuple[Candidate, list[Candidate]]]:
    """Each candidate with those of its runtime that have more bits, the nearest in bits first."""
    for c in candidates:
        larger = [o for o in candidates if o.runtime == c.runtime and o.bits_per_weight > c.bits_per_weight + SAME_BITS]
        if c.bits_per_weight and larger:
            yield c, larger[::-1]


def slower_though_smaller(candidates: Group) -> Iterator[str]:
    for c, larger in _smaller(candidates):
        mine = c.figures.get(SPEED)
        if mine is None or mine.high is None:
            continue
        for other in larger:
            theirs = other.figures.get(SPEED)
            if theirs and theirs.low is not None and theirs.low > mine.high:
                yield (
                    f"{c.name} has fewer bits per weight than {other.name} ({c.bits_per_weight:.2f} against "
                    f"{other.bits_per_weight:.2f}) and decodes slower: {spread(mine)} against {spread(theirs)} tok/s."
                )
                break


def hungrier_though_smaller(candidates: Group) -> Iterator[str]:
    for c, larger in _smaller(candidates):
        mine = c.value(MEMORY)
        over = [o for o in larger if (value := o.value(MEMORY)) and mine and mine > value * math.exp(MEMORY_MARGIN)]
        if mine and over:
            other = min(over, key=lambda o: o.figures[MEMORY].value)
            yield (
                f"{c.name} needs more memory than {other.name} although its file is smaller: {number(mine, 4)} against "
                f"{number(other.value(MEMORY), 4)} MiB resident."
            )


def better_though_smaller(candidates: Group) -> Iterator[str]:
    """Better in perplexity with fewer bits, chunk by chunk; against the unquantized model it is the next rule's."""
    for c, larger in _smaller(candidates):
        for other in larger:
            change = increase(c, other) if other.variant not in UNQUANTIZED else None
            if change and change.high < 0:
                low, high = share(math.expm1(change.low)), share(math.expm1(change.high))
                yield (
                    f"{c.name} has fewer bits per weight than {other.name} ({c.bits_per_weight:.2f} against "
                    f"{other.bits_per_weight:.2f}) and the better perplexity: {share(change.share)} ({low} to {high})."
                )
                break


def better_than_unquantized(candidates: Group) -> Iterator[str]:
    for c in candidates:
        base = base_of(candidates, c.runtime)
        change = increase(c, base) if base and key(base) != key(c) and c.variant not in UNQUANTIZED else None
        if base and change and change.high < 0:
            yield (
                f"{c.name} has a lower perplexity than {base.name} ({share(change.share)}): on this text, which is no "
                "sign that quantizing makes a model better."
            )


def more_bits_than_said(candidates: Group) -> Iterator[str]:
    said = {c.variant.partition("+")[0]: c.bits_per_weight for c in candidates if c.variant not in UNQUANTIZED}
    over = [f"{name} is {bits:.2f}" for name, bits in said.items() if bits > size_class(name) + MORE_THAN_SAID > 1]
    if over:
        yield f"Names say less than there is. In bits per weight in fact: {', '.join(over)}."


def mostly_not_weights(candidates: Group) -> Iterator[str]:
    """Where every process of a runtime needs more than twice its file, and memory does not follow the file's size."""
    for runtime in sorted({c.runtime for c in candidates}):
        found = [
            (m, c.size / 2**20, c) for c in candidates if c.runtime == runtime and (m := c.value(MEMORY)) and c.size
        ]
        least, most = min((m for m, _, _ in found), default=1.0), max((m for m, _, _ in found), default=1.0)
        if len(found) > 1 and all(m > 2 * size for m, size, _ in found) and least > most / 2:
            memory, size, c = max(found, key=lambda one: one[0] / one[1])
            yield (
                f"Under {runtime} memory is mostly not the weights: {c.name} is a file of {number(size)} MiB and needs "
                f"{number(memory, 4)} MiB resident, and between all variants memory differs by "
                f"{number(100 - 100 * least / most, 2)} % only."
            )


def tasks_that_do_not_tell(candidates: Group) -> Iterator[str]:
    """Perplexity tells variants from the unquantized model that a task's accuracy does not."""
    for column in columns(candidates):
        if column.table != TASKS or few([column]):
            continue
        worse, told = 0, 0
        for c in candidates:
            base, task_base = (
                base_of(candidates, c.runtime),
                base_of(candidates, c.runtime, has=lambda o: bool(o.items)),
            )
            loss = increase(c, base) if base and c.variant not in UNQUANTIZED else None
            paired = differences(task_base, c).get(column.metric) if task_base else None
            if loss and paired and loss.beyond_noise:
                worse, told = worse + 1, told + (paired.high < 0)
        if worse and told < worse:
            yield (
                f"Perplexity tells {plural(worse, 'variant')} from the unquantized model beyond noise; accuracy on "
                f"{column.heading.removesuffix(' %')} tells {told or 'none'} of them."
            )


RULES: tuple[Callable[[Group], Iterator[str]], ...] = (
    slower_though_smaller,
    hungrier_though_smaller,
    better_though_smaller,
    better_than_unquantized,
    more_bits_than_said,
    mostly_not_weights,
    tasks_that_do_not_tell,
)
