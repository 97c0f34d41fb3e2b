"""Targets of a device profile against what was measured: pass, miss, or not measured.

A target is `METRIC:VARIANT` (or `METRIC`, met by any variant) and the goal: a number, at least which
a rate must be and at most which everything else may be, or a text with its own sign (`">= 12"`, `"<= 0.5"`).
A goal that is meant for models of one size says so, `">= 35 for 3B"`: other models' figures neither pass nor miss it.

Metrics are those of the store, and two that compare with the unquantized model: `ppl_increase` (0.05 is 5 % more
perplexity) and `drop_TASK` (percentage points of accuracy lost on all documents of a task).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from quantfarm.candidates import Candidate
from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile, Scalar
from quantfarm.statistics.increase import base_of, increase
from quantfarm.statistics.tasks import differences

#: Metrics of which more is better; of all others less is.
MORE_IS_BETTER = frozenset({"bench_pp", "bench_tg", "decode_tps", "same_top"})
SIGNS = {">=": True, "≥": True, "<=": False, "≤": False}
GOAL = re.compile(r"(?P<sign>>=|≥|<=|≤)?\s*(?P<goal>\S+)(?:\s+for\s+(?P<size>\d+(?:\.\d+)?)B)?")
#: A model is of a size (3B) from two thirds to four thirds of so many billion weights.
SIZE_FROM, SIZE_TO = 2 / 3, 4 / 3
INCREASE, DROP = "ppl_increase", "drop_"


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105
    MISS = "miss"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """`value`: the figure judged (the best variant's where the target names none), None if not measured.

    `size`: of the models that it is a goal for, in billions of weights; None: of any. `model`: whose figure it is.
    """

    target: str
    at_least: bool
    goal: float
    value: float | None
    variant: str
    verdict: Verdict
    size: float | None = None
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Goal:
    at_least: bool
    value: float
    size: float | None

    def meant_for(self, candidate: Candidate) -> bool:
        """Whether a model is of the size; one whose size is not known is not."""
        if self.size is None:
            return True
        billions = (candidate.weights or 0.0) / 1e9
        return SIZE_FROM * self.size <= billions <= SIZE_TO * self.size


def check(profile: DeviceProfile, candidates: Sequence[Candidate]) -> tuple[Checked, ...]:
    """Every target of a profile against the candidates of that device. Raises UsageError for a goal that is none."""
    own = [c for c in candidates if c.device == profile.name]
    return tuple(_check(profile, name, goal, own) for name, goal in profile.targets)


def _check(profile: DeviceProfile, target: str, given: Scalar, candidates: Sequence[Candidate]) -> Checked:
    metric, _, variant = target.partition(":")
    goal = _goal(profile, target, metric, given)
    meant = [c for c in candidates if variant in ("", c.variant) and goal.meant_for(c)]
    figures = [(v, c.variant, c.model) for c in meant if (v := value(metric, c, candidates)) is not None]
    found, name, model = (max if goal.at_least else min)(figures) if figures else (None, variant, "")
    met = found is not None and (found >= goal.value if goal.at_least else found <= goal.value)
    verdict = Verdict.NOT_MEASURED if found is None else Verdict.PASS if met else Verdict.MISS
    return Checked(
        target=target, at_least=goal.at_least, goal=goal.value, value=found, variant=name, verdict=verdict,
        size=goal.size, model=model,
    )  # fmt: skip


def value(metric: str, candidate: Candidate, everyone: Sequence[Candidate]) -> float | None:
    """A figure of the store, or one against the unquantized model on the same device; None if not measured."""
    peers = [c for c in everyone if (c.device, c.model) == (candidate.device, candidate.model)]
    if metric == INCREASE:
        base = base_of(peers, candidate.runtime)
        loss = increase(candidate, base) if base else None
        return loss.share if loss else None
    if metric.startswith(DROP):
        return _drop(metric.removeprefix(DROP), candidate, peers)
    return candidate.value(metric)


def _drop(task: str, candidate: Candidate, peers: Sequence[Candidate]) -> float | None:
    """Paired document by document; by its name a figure of few documents is another figure."""
    base = base_of(peers, candidate.runtime, has=lambda c: bool(c.items))
    if base is None:
        return None
    of_task = re.compile(rf"acc_{re.escape(task)}(_\d+shot)?")
    found = [paired.delta for name, paired in differences(base, candidate).items() if of_task.fullmatch(name)]
    return max(-delta for delta in found) if found else None


def _goal(profile: DeviceProfile, target: str, metric: str, given: Scalar) -> _Goal:
    found = GOAL.fullmatch(str(given).strip())
    try:
        goal = float(found["goal"]) if found else float("nan")
    except ValueError:
        goal = float("nan")
    if found is None or goal != goal:  # noqa: PLR0124 - NaN is no goal
        raise UsageError(
            f"target '{target}' of device '{profile.name}': '{given}' is no goal: "
            "give a number, '>= NUMBER' or '<= NUMBER', with ' for 3B' where it is meant for models of that size"
        )
    size = float(found["size"]) if found["size"] else None
    return _Goal(at_least=SIGNS.get(found["sign"], metric in MORE_IS_BETTER), value=goal, size=size)
