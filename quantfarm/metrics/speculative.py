"""Speculative decoding: how often the draft is right, how much faster it makes it, and whether the text is the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantfarm.metrics import faults
from quantfarm.nouns import Measurement, Trace
from quantfarm.statistics.pairs import paired_ratio
from quantfarm.statistics.summary import summarise


def measure(trace: Trace) -> list[Measurement]:
    """speed_up (decode speed with the draft ÷ without, over pairs taken in turns), speculative_tps (tok/s with it),
    acceptance_rate (% of the drafted tokens) and same_text (% of the tokens before the greedy texts part; 100: the
    same). A pair that parts for another reason than rounding has failed already, in the runner."""
    events = sorted(trace.of("speculative"), key=lambda event: event["repetition"])
    if not trace.finished or not events:
        return []
    remark = faults.remark(trace)
    return [*_speed(events, remark), *_acceptance(events), _same(events, trace.of("parted"))]


def _speed(events: Sequence[Mapping[str, Any]], invalid: str) -> list[Measurement]:
    """Rates are (N - 1) ÷ the seconds from the first token to the last."""
    plain = [(e["tokens"] - 1) / e["plain_seconds"] for e in events]
    drafted = [(e["tokens"] - 1) / e["seconds"] for e in events]
    ratio = paired_ratio(plain, drafted)
    samples = tuple(b / a for a, b in zip(plain, drafted, strict=True))
    rates = f"{summarise(plain).value:.4g} → {summarise(drafted).value:.4g} tok/s"
    return [
        Measurement(
            metric="speed_up",
            value=ratio.ratio,
            unit="",
            n=ratio.n,
            low=ratio.low,
            high=ratio.high,
            samples=samples,
            remark="; ".join(text for text in (invalid, rates) if text),
        ),
        Measurement(
            metric="speculative_tps",
            value=summarise(drafted).value,
            unit="tok/s",
            n=len(drafted),
            samples=tuple(drafted),
            remark=invalid,
        ),
    ]


def _acceptance(events: Sequence[Mapping[str, Any]]) -> list[Measurement]:
    """Over all repetitions. Nothing where nothing was drafted (a text of two tokens leaves no room)."""
    drafted, accepted = sum(e["drafted"] for e in events), sum(e["accepted"] for e in events)
    if not drafted:
        return []
    each = tuple(100 * e["accepted"] / e["drafted"] for e in events if e["drafted"])
    value = 100 * accepted / drafted
    return [Measurement(metric="acceptance_rate", value=value, unit="%", n=drafted, samples=each)]


def _same(events: Sequence[Mapping[str, Any]], parted: Sequence[Mapping[str, Any]]) -> Measurement:
    """The least of the repetitions; the remark tells the first that parts."""
    at = {event["repetition"]: event["token"] for event in parted}
    each = tuple(100 * at.get(e["repetition"], e["tokens"]) / e["tokens"] for e in events)
    remarks = [
        f"parts at token {e['token']}: two tokens are {e['margin']:.2g} logits apart, where reading in batches moves "
        f"logits by {e['noise']:.2g}"
        for e in sorted(parted, key=lambda event: event["token"])
    ]
    return Measurement(
        metric="same_text", value=min(each), unit="%", n=len(each), samples=each, remark=(remarks or [""])[0]
    )
