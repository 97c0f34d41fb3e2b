"""What measuring again says of a candidate, and the verdicts that follow for all of a night. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantfarm.nightly import metrics
from quantfarm.nightly.candidates import Candidate, Rules
from quantfarm.nightly.verdicts import Confirmation, Kind, Level, Verdict
from quantfarm.statistics.pairs import paired_ratio
from quantfarm.statistics.significance import discoveries, t_test_p
from quantfarm.statistics.summary import summarise

#: Of what counts in a night, so much may be chance (Benjamini–Hochberg).
RATE = 0.05
#: Of each of two medians, so that the interval of their ratio covers 95 % (Bonferroni).
EACH = 0.975


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """`confirmation` where it was measured again, `old` and `new` as that found them; else why not: `obstacle` where
    it never can be (the two are not comparable), `failure` where it did not work this time."""

    confirmation: Confirmation | None = None
    old: Level | None = None
    new: Level | None = None
    obstacle: str = ""
    failure: str = ""


def pairs_needed(candidates: int, asked: int, rate: float = RATE) -> int:
    """So many pairs that one real change among all candidates can count: n pairs have no p below 2 / 2^n."""
    return max(asked, 1 + math.ceil(math.log2(max(1, candidates) / rate)))


def interleaved(old: Sequence[float], new: Sequence[float], candidate: Candidate) -> Evidence:
    """Of values in pairs. Raises ValueError when there are none, or not as many of each."""
    levels = [_level(values, like) for values, like in ((old, candidate.old), (new, candidate.new))]
    fixed = _without_spread(old, new)
    if min(*old, *new) > 0:
        found = paired_ratio(old, new)
        ratio, low, high = found.ratio, found.low, found.high
    else:
        found = paired_ratio(*_as_ratios(old, new))
        ratio, low, high = _ratio(levels[0].value, levels[1].value), None, None
    p = found.p if fixed is None else fixed
    if fixed is not None:
        low = high = ratio
    confirmation = Confirmation(how="interleaved", ratio=ratio, p=p, n=len(old), low=low, high=high)
    return Evidence(confirmation=confirmation, old=levels[0], new=levels[1])


def repeated(launches: Sequence[float], candidate: Candidate) -> Evidence:
    """Of the new alone, against the nights before. Raises ValueError when there are none."""
    before = [point.value for point in candidate.before]
    new = _level(launches, candidate.new)
    fixed = _without_spread(before, launches)
    p = t_test_p(np.asarray(before, dtype=np.float64), np.asarray(launches, dtype=np.float64))
    a, b = summarise(before, EACH), summarise(launches, EACH)
    low, high = None, None
    if a.low is not None and a.high is not None and b.low is not None and b.high is not None and min(a.low, b.low) > 0:
        low, high = b.low / a.high, b.high / a.low
    confirmation = Confirmation(
        how="repeat",
        ratio=_ratio(a.value, b.value),
        p=p if fixed is None else fixed,
        n=len(launches),
        low=low,
        high=high,
    )
    return Evidence(confirmation=confirmation, new=new)


def _without_spread(old: Sequence[float], new: Sequence[float]) -> float | None:
    """p of what came out the same each time, as quality does: it differs or not. None where it spreads."""
    if min(len(old), len(new)) < 2 or min(old) != max(old) or min(new) != max(new):
        return None
    return 0.0 if old[0] != new[0] else 1.0


def _as_ratios(old: Sequence[float], new: Sequence[float]) -> tuple[list[float], list[float]]:
    """Pairs whose log ratios are the differences: levels at or below zero have no ratios of their own."""
    differences = [b - a for a, b in zip(old, new, strict=True)]
    scale = max(abs(one) for one in differences) or 1.0
    return [1.0] * len(differences), [math.exp(one / scale) for one in differences]


def _ratio(old: float, new: float) -> float:
    """new ÷ old; of a level at or below zero 1 + the share of it by which it moved, from zero the share of the new."""
    if old > 0:
        return new / old
    return 1.0 if new == old else 1 + (new - old) / (abs(old) or abs(new))


def _level(values: Sequence[float], like: Level) -> Level:
    found = summarise(values)
    return Level(
        value=found.value,
        unit=like.unit,
        low=found.low,
        high=found.high,
        n=found.n,
        nights=like.nights,
        cell=like.cell,
        build=like.build,
    )


def conclude(found: Sequence[tuple[Candidate, Evidence]], rules: Rules) -> list[Verdict]:
    """The verdicts of all that were measured again in a night, in the order given."""
    confirmed = [evidence.confirmation for _, evidence in found if evidence.confirmation]
    count = dict(zip(map(id, confirmed), discoveries([one.p for one in confirmed], RATE), strict=True))
    return [_verdict(one, evidence, rules, count.get(id(evidence.confirmation), False)) for one, evidence in found]


def _verdict(candidate: Candidate, evidence: Evidence, rules: Rules, counts: bool) -> Verdict:
    forked, confirmation = bool(candidate.changed), evidence.confirmation
    old = evidence.old or candidate.old if forked else candidate.old
    new = evidence.new or candidate.new if forked else candidate.new
    kind, reason = _kind(candidate, evidence, rules, counts)
    positive = metrics.ratio(old.value, new.value) is not None
    return Verdict(
        series=candidate.series,
        kind=kind,
        reason=reason,
        night=candidate.night,
        old=old,
        new=new,
        ratio=confirmation.ratio if forked and confirmation and positive else candidate.ratio,
        p=candidate.p if candidate.p is not None else confirmation and confirmation.p,
        first_bad=candidate.first_bad,
        last_good=candidate.last_good,
        confirmation=confirmation,
        changed=candidate.changed,
        suspect=candidate.suspect,
        simulated=candidate.simulated,
    )


def _kind(candidate: Candidate, evidence: Evidence, rules: Rules, counts: bool) -> tuple[Kind, str]:
    """The verdict in one word, and why."""
    if evidence.failure:
        return Kind.NO_DATA, f"it could not be measured again, which is tried again next night: {evidence.failure}"
    confirmation = evidence.confirmation
    if confirmation is None:
        return Kind.NOT_COMPARABLE, f"{candidate.suspect}: {evidence.obstacle}"
    old = (evidence.old or candidate.old).value
    new = (evidence.new or candidate.new).value
    metric = candidate.series.metric
    moved = min(metrics.change(metric, old, new), abs(confirmation.ratio - 1))
    worse = metrics.is_worse(metric, old, new)
    as_seen = bool(candidate.changed) or worse == metrics.is_worse(metric, candidate.old.value, candidate.new.value)
    if counts and as_seen and moved >= rules.alert:
        return (Kind.REGRESSION, "it is worse") if worse else (Kind.IMPROVEMENT, "it is better")
    if candidate.changed:
        return Kind.UNCHANGED, f"{candidate.suspect}: measured in turns, both are the same"
    return Kind.NOISE, "measuring again did not show it"
