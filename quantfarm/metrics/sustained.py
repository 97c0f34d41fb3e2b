"""Sustained load (METHOD §4): the first rate, the steady one, what lies between. Not steady: no steady number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from quantfarm import thermal
from quantfarm.metrics import energy, faults
from quantfarm.metrics.speed import decode_rate
from quantfarm.metrics.windows import names, series, windows
from quantfarm.nouns import Measurement, Trace
from quantfarm.sensors import pick
from quantfarm.statistics.steady import Steady, judge

#: Back to back: the longest pause between two runs (s).
GAP_S = 0.5
#: A device that no sensor of ours can be read of.
UNKNOWN = "the device's temperature is not known"


@dataclass(frozen=True, slots=True)
class Run:
    """One generation: ns of the device's clock, tok/s (not a number for fewer than two tokens)."""

    submitted: int
    began: int  # the first token
    finished: int
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """All that a sustained cell tells. `temperatures`: (ns, °C) of `reading`, also from before and after the runs."""

    runs: tuple[Run, ...]
    verdict: Steady
    reading: str = ""
    temperatures: tuple[tuple[int, float], ...] = ()

    @property
    def to_steady_s(self) -> float | None:
        """From the first prompt's submission to that of the first steady run; None where it is not steady."""
        if not self.verdict.steady:
            return None
        return (self.runs[self.verdict.k].submitted - self.runs[0].submitted) / 1e9


def sustained(trace: Trace) -> Sustained | None:
    """None of another kind of run, of an unfinished one, and of one without a run."""
    found = _runs(trace) if trace.finished and trace.of("sustained") else ()
    if not found:
        return None
    on_gpu = pick.on_gpu(str(trace.first("loaded").get("backend", "")))
    reading = pick.temperature(names(trace), on_gpu=on_gpu)
    temperatures = series(trace, reading) if reading else []
    rates = [run.rate for run in found]
    verdict = judge(rates)
    if verdict.steady:
        verdict = judge(rates, _gap(found) or _unsettled(temperatures, found[verdict.k :]))
    return Sustained(runs=found, verdict=verdict, reading=reading, temperatures=tuple(temperatures))


def _runs(trace: Trace) -> tuple[Run, ...]:
    events = sorted((e for e in trace.of("decode") if e["mode"] == "app"), key=lambda event: event["submit"])
    rates = [decode_rate(e["times"]) or float("nan") for e in events]
    return tuple(Run(e["submit"], e["times"][0], e["times"][-1], r) for e, r in zip(events, rates, strict=True))


def _gap(runs: Sequence[Run]) -> str:
    """Why they are not back to back: the device rested. Empty where they are."""
    for number, (one, after) in enumerate(pairwise(runs), 1):
        gap = (after.submitted - one.finished) / 1e9
        if gap >= GAP_S:
            return f"not back to back: {gap:.1f} s between runs {number} and {number + 1}"
    return ""


def _unsettled(temperatures: Sequence[tuple[int, float]], steady: Sequence[Run]) -> str:
    """Why the temperature is not steady: less than 0.2 °C/min over the last minute of the steady runs (all of them
    where they took less), as the start gate asks for at rest. Empty where it is, or is not known at all."""
    began, finished = steady[0].submitted, steady[-1].finished
    loaded = [thermal.Reading(t_s=t / 1e9, temperature_c=c) for t, c in temperatures if began <= t <= finished]
    if not temperatures:
        return ""
    if len(loaded) < thermal.FEWEST:
        return f"the temperature cannot be judged: {len(loaded)} readings in {(finished - began) / 1e9:.0f} s"
    why = thermal.changing(thermal.window(loaded))
    return f"the temperature was still {why}" if why else ""


def measure(trace: Trace) -> list[Measurement]:
    """sustained_first, sustained_steady (tok/s), throttle_ratio (steady ÷ first), time_to_steady (s),
    sustained_energy (J/token over the runs whose power is known).

    Where it is not steady, in place of the steady rate, the ratio and the time: not_steady (how many runs were
    made), whose remark says why.
    """
    found = sustained(trace)
    if found is None:
        return []
    verdict = found.verdict
    remarks = [faults.remark(trace), "" if found.reading else UNKNOWN]
    first = _one("sustained_first", verdict.first, "tok/s", remarks)
    measured = [first] if verdict.first > 0 else []
    return [*measured, *_verdict(found, remarks), *_energy(trace)]


def _verdict(found: Sustained, remarks: list[str]) -> list[Measurement]:
    verdict = found.verdict
    if verdict.rate is None or verdict.ratio is None or found.to_steady_s is None:
        return [_one("not_steady", float(verdict.n), "runs", [verdict.reason])]
    which = f"runs {verdict.k + 1} to {verdict.n}"
    return [
        Measurement(
            metric="sustained_steady",
            value=verdict.rate.value,
            unit="tok/s",
            n=verdict.rate.n,
            low=verdict.rate.low,
            high=verdict.rate.high,
            samples=tuple(run.rate for run in found.runs[verdict.k :]),
            remark=_joined([*remarks, which]),
        ),
        _one("throttle_ratio", verdict.ratio, "", remarks),
        _one("time_to_steady", found.to_steady_s, "s", remarks),
    ]


def _one(metric: str, value: float, unit: str, remarks: Sequence[str]) -> Measurement:
    return Measurement(metric=metric, value=value, unit=unit, samples=(value,), remark=_joined(remarks))


def _joined(remarks: Sequence[str]) -> str:
    return "; ".join(text for text in remarks if text)


def _energy(trace: Trace) -> list[Measurement]:
    """Of the runs that power samples cover, all their energy over all their tokens; where runs are too short for
    that, of all of them as one."""
    on_gpu = pick.on_gpu(str(trace.first("loaded").get("backend", "")))
    name = pick.power(names(trace), on_gpu=on_gpu)
    pieces = energy.joules(trace, name) if name else []
    decoded = windows(trace, "decode")
    known = [(w, spent) for w in decoded if (spent := energy.energy(pieces, w.began, w.finished)) is not None]
    which = "" if len(known) == len(decoded) else f"over {len(known)} of {len(decoded)} runs"
    if not known and (whole := energy.as_one(decoded)):
        spent = energy.energy(pieces, whole.began, whole.finished)
        known, which = [(whole, spent)] if spent is not None else [], f"over {len(decoded)} runs together"
    if not known:
        return []
    return [
        Measurement(
            metric="sustained_energy",
            value=sum(spent for _, spent in known) / sum(w.tokens for w, _ in known),
            unit="J/token",
            n=len(known),
            samples=tuple(spent / w.tokens for w, spent in known),
            remark=_joined([f"reading: {name}", which]),
        )
    ]
