"""The task figures of two candidates side by side: each difference with its interval and its chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantfarm.candidates import Candidate
from quantfarm.statistics.increase import base_of
from quantfarm.statistics.paired import PairedAccuracy, paired_accuracy
from quantfarm.statistics.resample import key


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Of a variant's accuracy on a task to the unquantized model's, in percentage points."""

    metric: str
    candidate: Candidate
    base: Candidate
    paired: PairedAccuracy


def differences(base: Candidate, other: Candidate) -> dict[str, PairedAccuracy]:
    """Of each accuracy (by its figure's name, e.g. `acc_arc_easy`) that both have: other - base, paired by document.

    Empty for a candidate against itself.
    """
    if base is other:
        return {}
    shared = sorted(base.items.keys() & other.items.keys())
    pairs = {name: (base.items[name], other.items[name]) for name in shared}
    return {name: paired_accuracy(a, b) for name, (a, b) in pairs.items() if a.right.keys() & b.right.keys()}


def against_base(everyone: Sequence[Candidate]) -> list[Difference]:
    """Each accuracy of each variant against the unquantized model's, under its runtime where that was asked there; the
    largest variant first."""
    found: list[Difference] = []
    for c in sorted(everyone, key=lambda c: (-c.bits_per_weight, c.variant, c.runtime)):
        for metric in sorted(c.items):
            base = _base(everyone, c.runtime, metric)
            if (
                base is None
                or key(base) == key(c)
                or not base.items[metric].right.keys() & c.items[metric].right.keys()
            ):
                continue
            paired = paired_accuracy(base.items[metric], c.items[metric])
            found.append(Difference(metric=metric, candidate=c, base=base, paired=paired))
    return found


def _base(everyone: Sequence[Candidate], runtime: str, metric: str) -> Candidate | None:
    return base_of(everyone, runtime, has=lambda one: metric in one.items)
