"""A version ÷ the good one, and on which side of the middle between good and bad that lies."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from quantfarm.statistics.pairs import paired_ratio

#: A smaller difference between good and bad, measured now, is none; unless the figure has no spread at all.
LEAST = 0.02


class Says(StrEnum):
    GOOD = "good"
    BAD = "bad"
    UNDECIDED = "undecided"
    SKIPPED = "cannot be measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A version ÷ the good one, with its 95 % interval; None below six pairs."""

    ratio: float
    low: float | None
    high: float | None
    pairs: int

    def __str__(self) -> str:
        inner = f" [{self.low:.4g}, {self.high:.4g}]" if self.low is not None and self.high is not None else ""
        return f"{self.ratio:.4g}{inner}"


#: The good one against itself.
SAME = Ratio(ratio=1.0, low=1.0, high=1.0, pairs=0)


@lru_cache(maxsize=1024)  # a search asks for the same ones again and again
def _ratio(good: tuple[float, ...], other: tuple[float, ...]) -> Ratio:
    found = paired_ratio(good, other)
    return Ratio(ratio=found.ratio, low=found.low, high=found.high, pairs=found.n)


@dataclass(slots=True, kw_only=True)
class Measured:
    """What is known of a version: values of both in pairs, or why it has none."""

    good: list[float] = field(default_factory=list[float])
    other: list[float] = field(default_factory=list[float])
    problem: str = ""

    @property
    def ratio(self) -> Ratio | None:
        """Raises ValueError for values that are not above zero."""
        return _ratio(tuple(self.good), tuple(self.other)) if self.good else None


def reproduced(ends: Ratio, *, falls: bool, claimed: float | None = None) -> Says:
    """Is the bad one (÷ the good) worse now? BAD: yes; GOOD: no, they are alike, or it is the other way round.

    `falls`: whether worse is less. `claimed`: the ratio that is looked for, where there is one: half of it is enough.
    """
    if ends.low is None or ends.high is None:
        return Says.UNDECIDED
    enough = abs(math.log(claimed)) / 2 if claimed and claimed != 1 else LEAST
    if ends.low <= 1 <= ends.high:
        farthest = max(-math.log(ends.low), math.log(ends.high))
        return Says.GOOD if farthest < enough else Says.UNDECIDED
    large = abs(math.log(ends.ratio)) >= min(LEAST, enough) or ends.low == ends.high
    return Says.BAD if large and falls == (ends.ratio < 1) else Says.GOOD


def judge(version: Ratio, ends: Ratio) -> Says:
    """Which side of the middle between good and bad a version is on; undecided where the intervals meet."""
    if version.low is None or version.high is None or ends.low is None or ends.high is None:
        return Says.UNDECIDED
    below, above = version.high < math.sqrt(ends.low), version.low > math.sqrt(ends.high)
    if not below and not above:
        return Says.UNDECIDED
    return Says.BAD if below == (ends.ratio < 1) else Says.GOOD


def between(new: Ratio, old: Ratio) -> Ratio:
    """New ÷ old from what both are of the good one: at its widest, since they were not measured in turns."""
    if old is SAME:
        return new
    low = high = None
    if new.low is not None and new.high is not None and old.low is not None and old.high is not None:
        low, high = new.low / old.high, new.high / old.low
    return Ratio(ratio=new.ratio / old.ratio, low=low, high=high, pairs=min(new.pairs, old.pairs))


def meet(one: Ratio, other: Ratio) -> bool:
    """Whether two intervals have something in common; unknown ones do."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return True
    return one.low <= other.high and other.low <= one.high
