"""Two candidates side by side: of each metric how much B differs from A, its interval, and whether it is better.

Compared is what was measured in the same way; else the metric is refused, with the reason. Where there are pairs (the
same chunks, the same documents, launches in turns) they are used: what both share costs no precision. B is better or
worse when the whole interval lies on that side and the estimate is beyond the practical margin (2 % of speed, 1 % of
memory; of quality the interval alone); alike when the whole interval lies within the margin; else undecided.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from quantfarm.candidates import Candidate
from quantfarm.metrics.starts import MOVED
from quantfarm.report.conditions import power_mode
from quantfarm.report.names import called, more_is_better
from quantfarm.statistics.increase import increase
from quantfarm.statistics.paired import paired_accuracy
from quantfarm.statistics.pairs import paired_ratio
from quantfarm.statistics.resample import Z95, documents_of, has_chunks, is_accuracy
from quantfarm.statistics.summary import Summary
from quantfarm.statistics.unpaired import ratio

#: A share of the figure; smaller differences are of no account (METHOD §5).
SPEED_MARGIN, MEMORY_MARGIN = 0.02, 0.01
MEMORY = frozenset({"resident_peak", "committed_peak", "cuda_peak"})
QUALITY = frozenset({"ppl", "bits_per_byte", "bits_per_byte_rolling"})
#: Of one text too, and compared as a difference: they are near zero, or have a natural end.
DIFFERENCES = frozenset({"kld_mean", "kld_median", "kld_p999", "kld_max", "same_top", "rms_dp"})
#: Launches in turns from which an interval of 95 % exists.
ENOUGH_PAIRS = 6


class Judged(StrEnum):
    """Of B, against A."""

    BETTER = "better"
    WORSE = "worse"
    ALIKE = "alike"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Taken:
    """A launch's value, and when it was taken (s of any clock that both sides share)."""

    at: float
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """`change`: B ÷ A - 1 where `relative`, else B - A in `unit`; `low` … `high` its 95 % interval, None where there
    is none. `how`: what was compared with what. `why`: of an undecided one."""

    metric: str
    a: Summary
    b: Summary
    unit: str
    relative: bool
    change: float
    low: float | None
    high: float | None
    how: str
    judged: Judged
    why: str = ""
    p: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`refused`: why the two cannot be compared at all. `refusals`: metric -> why not."""

    a: Candidate
    b: Candidate
    refused: str = ""
    compared: tuple[Compared, ...] = ()
    refusals: Mapping[str, str]

    def count(self, judged: Judged) -> int:
        return sum(one.judged is judged for one in self.compared)


@dataclass(frozen=True, slots=True)
class _Found:
    change: float
    low: float | None
    high: float | None
    how: str
    relative: bool = True
    p: float | None = None


Launches = Mapping[str, Sequence[Taken]]


def compare(a: Candidate, b: Candidate, taken_a: Launches | None = None, taken_b: Launches | None = None) -> Comparison:
    """B against A. `taken_…`: of each metric when its launches were, by which those in turns are found."""
    if why := _refused(a, b):
        return Comparison(a=a, b=b, refused=why, refusals={})
    refusals: dict[str, str] = {}
    compared: list[Compared] = []
    for metric in _metrics(a, b):
        if why := _incomparable(a, b, metric):
            refusals[metric] = why
        else:
            found = _found(a, b, metric, (taken_a or {}).get(metric, ()), (taken_b or {}).get(metric, ()))
            compared.append(_judged(a, b, metric, found))
    return Comparison(a=a, b=b, compared=tuple(compared), refusals=refusals)


def _refused(a: Candidate, b: Candidate) -> str:
    if a.model != b.model:
        return f"they are of different models: {a.model} and {b.model}"
    if a.simulated != b.simulated:
        fake = a if a.simulated else b
        return f"{fake.device} is simulated and the other is not: made-up figures say nothing of measured ones"
    return ""


def _metrics(a: Candidate, b: Candidate) -> Iterator[str]:
    """Those with a better side that one of them has, in A's order."""
    for metric in dict.fromkeys([*a.figures, *b.figures]):
        if more_is_better(metric) is not None:
            yield metric


def _incomparable(a: Candidate, b: Candidate, metric: str) -> str:
    """Why this metric of the two cannot be compared; empty where it can."""
    if lacking := [c for c in (a, b) if metric not in c.figures]:
        failures = f" ({'; '.join(lacking[0].failures[:2])})" if lacking[0].failures else ""
        return f"not measured of {who(lacking[0], a, b)}{failures}"
    own, other = a.workloads.get(metric, ""), b.workloads.get(metric, "")
    if own != other:
        return f"other parameters: {own or 'unknown'} against {other or 'unknown'}"
    if metric in QUALITY | DIFFERENCES and a.text_sha256 != b.text_sha256:
        return f"of another text: {a.text_sha256[:12] or 'unknown'} against {b.text_sha256[:12] or 'unknown'}"
    if metric == "ppl" and a.chunk_tokens != b.chunk_tokens:
        return f"of other chunks of the text: {len(a.chunk_tokens)} against {len(b.chunk_tokens)}"
    return _otherwise_warm(a, b, metric)


def _otherwise_warm(a: Candidate, b: Candidate, metric: str) -> str:
    """What heat and power move, where only one of the two was warm or in another power mode."""
    if metric not in MOVED:
        return ""
    hot = ["hot start" in c.remarks.get(metric, "") for c in (a, b)]
    if hot[0] != hot[1]:
        return f"only {who(a if hot[0] else b, a, b)} began warmer than at rest (hot start)"
    throttled = [bool(c.value("throttled")) for c in (a, b)]
    if throttled[0] != throttled[1]:
        return f"only {who(a if throttled[0] else b, a, b)} was held back by heat (throttled)"
    modes = [power_mode(c.conditions) for c in (a, b)]
    if a.device == b.device and modes[0] != modes[1]:
        return f"in other power modes: {modes[0]} against {modes[1]}"
    return ""


def who(one: Candidate, a: Candidate, b: Candidate) -> str:
    """What tells it from the other."""
    for own, other in ((a.name, b.name), (a.device, b.device), (a.runtime, b.runtime)):
        if own != other:
            return {id(a): own, id(b): other}[id(one)]
    return "A" if one is a else "B"


def _found(a: Candidate, b: Candidate, metric: str, at_a: Sequence[Taken], at_b: Sequence[Taken]) -> _Found:
    if metric == "ppl" and has_chunks(a):
        return _chunks(a, b)
    if documents_of(a, metric) and documents_of(a, metric) == documents_of(b, metric):
        return _documents(a, b, metric)
    if is_accuracy(metric) or metric in DIFFERENCES:
        return _own_intervals(a, b, metric, relative=False)
    own, other = _values(a, metric), _values(b, metric)
    if len(own) == len(other) == 1 and (metric in QUALITY or a.figures[metric].low is not None):
        return _own_intervals(a, b, metric, relative=True)
    if turns := in_turns(at_a, at_b):
        paired = paired_ratio([x for x, _ in turns], [y for _, y in turns])
        low, high = _less_one(paired.low), _less_one(paired.high)
        return _Found(paired.ratio - 1, low, high, f"{paired.n} pairs of launches in turns", p=paired.p)
    return _unpaired(own, other)


def _chunks(a: Candidate, b: Candidate) -> _Found:
    loss = increase(b, a)
    assert loss is not None  # the same text and chunks
    low, high = math.expm1(loss.low), math.expm1(loss.high)
    return _Found(loss.share, low, high, f"paired by {len(a.chunk_tokens)} chunks")


def _documents(a: Candidate, b: Candidate, metric: str) -> _Found:
    paired = paired_accuracy(a.items[metric], b.items[metric])
    return _Found(paired.delta, paired.low, paired.high, f"paired by {paired.n} documents", False, paired.p)


def _own_intervals(a: Candidate, b: Candidate, metric: str, *, relative: bool) -> _Found:
    """Of each figure's own interval, as if nothing were shared: wider than pairs would be."""
    one, two = a.figures[metric], b.figures[metric]
    errors = [(s.high - s.low) / (2 * Z95) if s.low is not None and s.high is not None else None for s in (one, two)]
    how = "each figure's own interval, unpaired"
    if relative and min(one.value, two.value) > 0:
        shares = [e / s.value if e is not None else None for e, s in zip(errors, (one, two), strict=True)]
        middle = math.log(two.value / one.value)
        half = Z95 * math.hypot(shares[0], shares[1]) if shares[0] is not None and shares[1] is not None else None
        ends = (math.expm1(middle - half), math.expm1(middle + half)) if half is not None else (None, None)
        return _Found(math.expm1(middle), *ends, how)
    change = two.value - one.value
    half = Z95 * math.hypot(errors[0], errors[1]) if errors[0] is not None and errors[1] is not None else None
    ends = (change - half, change + half) if half is not None else (None, None)
    return _Found(change, *ends, how, relative=False)


def _unpaired(own: Sequence[float], other: Sequence[float]) -> _Found:
    how = f"launches, unpaired: {len(own)} and {len(other)}"
    if min(*own, *other) <= 0:
        return _Found(sum(other) / len(other) - sum(own) / len(own), None, None, how, relative=False)
    found = ratio(own, other)
    return _Found(found.ratio - 1, _less_one(found.low), _less_one(found.high), how)


def _values(candidate: Candidate, metric: str) -> Sequence[float]:
    return candidate.launches.get(metric) or (candidate.figures[metric].value,)


def _less_one(value: float | None) -> float | None:
    return None if value is None else value - 1


def in_turns(a: Sequence[Taken], b: Sequence[Taken]) -> list[tuple[float, float]]:
    """Pairs of values, where launches were taken in turns (AB, BA, AB …), enough for an interval; else none."""
    if len(a) != len(b) or len(a) < ENOUGH_PAIRS:
        return []
    order = sorted([(one.at, 0, one.value) for one in a] + [(one.at, 1, one.value) for one in b])
    couples = [order[i : i + 2] for i in range(0, len(order), 2)]
    if any({side for _, side, _ in couple} != {0, 1} for couple in couples):
        return []
    found: list[tuple[float, float]] = []
    for couple in couples:
        values = {side: value for _, side, value in couple}
        found.append((values[0], values[1]))
    return found


def margin(metric: str) -> float:
    """A share: within it a difference is of no account. 0 for quality, where the interval alone decides."""
    if metric in QUALITY | DIFFERENCES or is_accuracy(metric):
        return 0.0
    return MEMORY_MARGIN if metric in MEMORY else SPEED_MARGIN


def _judged(a: Candidate, b: Candidate, metric: str, found: _Found) -> Compared:
    judged, why = _verdict(metric, found)
    return Compared(
        metric=metric,
        a=a.figures[metric],
        b=b.figures[metric],
        unit=a.units.get(metric, ""),
        relative=found.relative,
        change=found.change,
        low=found.low,
        high=found.high,
        how=found.how,
        judged=judged,
        why=why,
        p=found.p,
    )


def _verdict(metric: str, found: _Found) -> tuple[Judged, str]:
    """The verdict, and of an undecided one why."""
    if found.low is None or found.high is None:
        return Judged.UNDECIDED, f"no 95 % interval ({found.how})"
    least = margin(metric) if found.relative else 0.0
    if found.low == found.high == found.change == 0:
        return Judged.ALIKE, ""
    if least and -least <= found.low and found.high <= least:
        return Judged.ALIKE, ""
    if found.low <= 0 <= found.high:
        return Judged.UNDECIDED, f"the interval includes no difference for {called(metric)}"
    if abs(found.change) <= least:
        return Judged.UNDECIDED, f"a difference, but within the margin of {100 * least:g} %"
    return (Judged.BETTER if (found.change > 0) == more_is_better(metric) else Judged.WORSE), ""
