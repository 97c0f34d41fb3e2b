"""The task figures of two candidates side by side: each difference with its interval and its chance."""

from __future__ import annotations

from quantfarm.candidates import Candidate
from quantfarm.statistics.paired import PairedAccuracy, paired_accuracy


def differences(base: Candidate, other: Candidate) -> dict[str, PairedAccuracy]:
    """Of each accuracy (by its figure's name, e.g. `acc_arc_easy`) that both have: other - base, paired by document.

    Empty for a candidate against itself.
    """
    if base is other:
        return {}
    shared = sorted(base.items.keys() & other.items.keys())
    pairs = {name: (base.items[name], other.items[name]) for name in shared}
    return {name: paired_accuracy(a, b) for name, (a, b) in pairs.items() if a.right.keys() & b.right.keys()}
