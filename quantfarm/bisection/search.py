"""What to measure next, and what came out: halving, with versions that cannot be told stepped over."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantfarm.bisection.ratios import SAME, Measured, Ratio, Says, between, judge, meet

#: A good version that has lost this part of the way to the bad one is spoken of.
NOTABLE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    version: str
    says: Says
    ratio: Ratio | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`last_good` and `first_bad` are neighbours where nothing was `stepped_over`; else any of those, too, may be the
    first bad one.

    `step` is the first bad ÷ the last good, `all` the bad ÷ the good; `remarks` say where one step is not the whole
    story.
    """

    first_bad: str
    last_good: str
    stepped_over: tuple[str, ...]
    step: Ratio
    all: Ratio
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """`versions`: good … bad in order. `measured`: by version; the bad one is in it. `batch`: pairs at a time."""

    versions: Sequence[str]
    measured: Mapping[str, Measured]
    batch: int
    most: int = 3  # batches of pairs that an undecided version is given

    @property
    def ends(self) -> Ratio:
        """Bad ÷ good. Raises ValueError where the bad one was not measured."""
        found = self._measured(self.versions[-1]).ratio
        if found is None:
            raise ValueError(f"the bad version {self.versions[-1]} was not measured")
        return found

    def _measured(self, version: str) -> Measured:
        return self.measured.get(version, Measured())

    def trial(self, version: str) -> Trial | None:
        """What a version turned out to be; None where it was not measured, or wants more pairs."""
        if version == self.versions[0]:
            return Trial(version=version, says=Says.GOOD, ratio=SAME)
        if version == self.versions[-1]:
            return Trial(version=version, says=Says.BAD, ratio=self.ends)
        found = self._measured(version)
        if found.problem:
            return Trial(version=version, says=Says.SKIPPED, reason=found.problem)
        ratio = found.ratio
        return self._told(version, ratio) if ratio else None

    def _told(self, version: str, ratio: Ratio) -> Trial | None:
        says = judge(ratio, self.ends)
        if says is not Says.UNDECIDED:
            return Trial(version=version, says=says, ratio=ratio)
        if ratio.pairs < self.most * self.batch:
            return None
        reason = f"{ratio} after {ratio.pairs} pairs is too near the middle, {math.sqrt(self.ends.ratio):.4g}"
        return Trial(version=version, says=says, ratio=ratio, reason=reason)

    def trials(self) -> list[Trial]:
        """Of all that were looked at, in the order of versions."""
        return [trial for version in self.versions if (trial := self.trial(version))]

    def bounds(self) -> tuple[int, int]:
        """Indices of the first version known to be bad, and of the last one before it known to be good."""
        says = [trial.says if (trial := self.trial(version)) else None for version in self.versions]
        bad = says.index(Says.BAD)
        return max(index for index in range(bad) if says[index] is Says.GOOD), bad

    def open(self) -> list[str]:
        """Versions between the bounds that were neither told nor stepped over."""
        good, bad = self.bounds()
        return [version for version in self.versions[good + 1 : bad] if self.trial(version) is None]

    def next(self) -> str | None:
        """The version to measure (more of): one that was begun, else the nearest to the middle. None: done."""
        choice = self.open()
        if not choice:
            return None
        middle = sum(self.bounds()) / 2
        near = min(choice, key=lambda version: abs(self.versions.index(version) - middle))
        return next((version for version in choice if self._measured(version).good), near)

    def left(self) -> int:
        """How many more versions must be measured at most, if none is stepped over."""
        return math.ceil(math.log2(len(self.open()) + 1))

    def answer(self) -> Answer:
        """Once `next` is None."""
        good, bad = self.bounds()
        trials = {trial.version: trial for trial in self.trials()}
        last_good, first_bad = trials[self.versions[good]], trials[self.versions[bad]]
        step = between(first_bad.ratio or SAME, last_good.ratio or SAME)
        return Answer(
            first_bad=first_bad.version,
            last_good=last_good.version,
            stepped_over=tuple(self.versions[good + 1 : bad]),
            step=step,
            all=self.ends,
            remarks=(*_partly(step, self.ends), *_worse(list(trials.values()), self.ends)),
        )


def _partly(step: Ratio, ends: Ratio) -> list[str]:
    """Where the figure did not take one step: the search then names one of several."""
    if meet(step, ends):
        return []
    if math.log(step.ratio) / math.log(ends.ratio) < 1:
        return [f"this step is {step} of {ends} in all: other versions changed it too"]
    return [f"this step is {step}, more than the {ends} in all: later versions made up for some of it"]


def _worse(trials: Sequence[Trial], ends: Ratio) -> list[str]:
    """Good versions that are not as good as the good one."""
    way = math.log(ends.ratio)
    moved = [
        f"{one.version} ({one.ratio})"
        for one in trials
        if one.says is Says.GOOD
        and one.ratio
        and not meet(one.ratio, SAME)
        and math.log(one.ratio.ratio) / way > NOTABLE
    ]
    return [f"counted as good, yet not as good as {trials[0].version}: {', '.join(moved)}"] if moved else []
