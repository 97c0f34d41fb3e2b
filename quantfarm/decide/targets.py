"""Targets of a device profile against what was measured: pass, miss, or not measured.

A target is `METRIC:VARIANT` (or `METRIC`, met by any variant) and the goal: a number, at least which
a rate must be and at most which everything else may be, or a text with its own sign (`">= 12"`, `"<= 0.5"`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from quantfarm.candidates import Candidate
from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile, Scalar

#: Metrics of which more is better; of all others less is.
MORE_IS_BETTER = frozenset({"bench_pp", "bench_tg", "decode_tps", "same_top"})
SIGNS = {">=": True, "≥": True, "<=": False, "≤": False}


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105
    MISS = "miss"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """`value`: the figure judged (the best variant's where the target names none), None if not measured."""

    target: str
    at_least: bool
    goal: float
    value: float | None
    variant: str
    verdict: Verdict


def check(profile: DeviceProfile, candidates: Sequence[Candidate]) -> tuple[Checked, ...]:
    """Every target of a profile against the candidates of that device. Raises UsageError for a goal that is none."""
    own = [c for c in candidates if c.device == profile.name]
    return tuple(_check(profile, name, goal, own) for name, goal in profile.targets)


def _check(profile: DeviceProfile, target: str, given: Scalar, candidates: Sequence[Candidate]) -> Checked:
    metric, _, variant = target.partition(":")
    at_least, goal = _goal(profile, target, metric, given)
    figures = [(v, c.variant) for c in candidates if variant in ("", c.variant) and (v := c.value(metric)) is not None]
    value, name = (max if at_least else min)(figures) if figures else (None, variant)
    met = value is not None and (value >= goal if at_least else value <= goal)
    verdict = Verdict.NOT_MEASURED if value is None else Verdict.PASS if met else Verdict.MISS
    return Checked(target=target, at_least=at_least, goal=goal, value=value, variant=name, verdict=verdict)


def _goal(profile: DeviceProfile, target: str, metric: str, given: Scalar) -> tuple[bool, float]:
    text = str(given).strip()
    sign = next((s for s in SIGNS if text.startswith(s)), "")
    try:
        goal = float(text.removeprefix(sign))
    except ValueError:
        raise UsageError(
            f"target '{target}' of device '{profile.name}': '{given}' is no goal: "
            "give a number, '>= NUMBER' or '<= NUMBER'"
        ) from None
    return SIGNS.get(sign, metric in MORE_IS_BETTER), goal
