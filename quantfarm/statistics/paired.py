"""Two variants on the same questions: how much their accuracy differs, its interval, and whether it could be chance.

Answers are paired by document, so what both get right or wrong says nothing and costs no precision. The interval is
a paired bootstrap's over documents (percentile; of a task with groups, MMLU's subjects, within each group, as the
groups are fixed and their documents are the sample); p is the exact McNemar test: of the documents that one alone got
right, either could have been that one as likely (McNemar 1947; binomial, two-sided).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Of one variant on one task: document -> whether its answer was right; and the document's group."""

    right: Mapping[str, bool]
    groups: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedAccuracy:
    """`delta` is B - A in percentage points, `low` … `high` its 95 % interval; `p` exact, two-sided.

    `only_a`, `only_b`: documents that one alone got right; `n`: documents that both answered.
    """

    delta: float
    low: float
    high: float
    p: float
    n: int
    only_a: int
    only_b: int


def paired_accuracy(a: Answers, b: Answers, *, draws: int = DRAWS, seed: int = 0) -> PairedAccuracy:
    """B against A on the documents of both. Raises ValueError where they have none in common."""
    shared = sorted(a.right.keys() & b.right.keys())
    if not shared:
        raise ValueError("the two answered no document in common")
    d = np.array([int(b.right[doc]) - int(a.right[doc]) for doc in shared], dtype=np.int64)
    only_a, only_b = int(np.count_nonzero(d < 0)), int(np.count_nonzero(d > 0))
    if only_a or only_b:
        drawn = _drawn(d, [a.groups.get(doc, "") for doc in shared], draws, seed)
        low, high = np.quantile(drawn, [0.025, 0.975])
    else:  # nothing to draw: so many documents without a difference may hide a share of this much (Clopper–Pearson)
        high = 1 - 0.025 ** (1 / len(shared))
        low = -high
    return PairedAccuracy(
        delta=100 * float(d.mean()),
        low=100 * float(low),
        high=100 * float(high),
        p=mcnemar_p(only_a, only_b),
        n=len(shared),
        only_a=only_a,
        only_b=only_b,
    )


def _drawn(d: NDArray[np.int64], groups: Sequence[str], draws: int, seed: int) -> NDArray[np.float64]:
    """Means of documents drawn with replacement: only how many of each difference are drawn matters, which is
    multinomial, so no list of documents need be drawn."""
    random = np.random.default_rng(seed)
    total = np.zeros(draws)
    for group in sorted(set(groups)):
        own = d[[one == group for one in groups]]
        shares = [float(np.count_nonzero(own == value)) / len(own) for value in (-1, 0, 1)]
        counts = random.multinomial(len(own), shares, size=draws)
        total += counts[:, 2] - counts[:, 0]
    return total / len(d)


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Two-sided exact p: twice the binomial(n, ½) tail, at most 1."""
    n, k = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, i) for i in range(k + 1))
    return min(1.0, 2 * tail / 2**n)
