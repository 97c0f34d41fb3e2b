"""Memory of one launch in MiB: all that was resident at the most, and what could not be dropped (METHOD §3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from quantfarm.metrics import faults
from quantfarm.metrics.conditions import as_held
from quantfarm.nouns import Measurement, Trace

#: Samples that a peak may be read from: a run of less than a second may have been seen before it had its memory.
FEWEST = 10


#: Events of runs that score logits: perplexity, bits per byte, tasks.
SCORED = ("chunk", "window", "item")


def _largest(figures: Iterable[Mapping[str, Any]], name: str) -> float | None:
    values = [f[name] for f in figures if f.get(name) is not None]
    return max(values, default=None)


def _resident(trace: Trace) -> tuple[float | None, str]:
    """The process's own high-water mark at its end; else the largest that the sampler saw."""
    own = [e for e in trace.of("memory") if e.get("hwm_mib") is not None]
    if own:
        return own[-1]["hwm_mib"], "estimated" if own[-1].get("estimated") else ""
    seen = _sampled(trace)
    if len(seen) < FEWEST:
        return None, ""
    peak = _largest(seen, "hwm_mib")
    return (peak, "estimated: from samples") if peak else (_largest(seen, "rss_mib"), "estimated: from samples")


def _sampled(trace: Trace) -> list[Mapping[str, Any]]:
    names = {"hwm_mib", "rss_mib", "rss_anon_mib"}
    return [s["values"] for s in trace.of("sample") if names & s["values"].keys()]


def _committed(trace: Trace) -> tuple[float | None, str]:
    own, seen = trace.of("memory"), _sampled(trace)
    if not own and len(seen) < FEWEST:
        return None, ""
    figures = [*own, *seen]
    estimated = not own or any(e.get("estimated") for e in own)
    return _largest(figures, "rss_anon_mib"), "estimated" if estimated else ""


def measure(trace: Trace) -> list[Measurement]:
    """resident_peak, committed_peak. None of an unfinished trace, and none of a run that judges quality, whose own
    arrays of logits would count as the model's."""
    if not trace.finished or any(trace.of(event) for event in SCORED):
        return []
    invalid, held, found = faults.remark(trace), as_held(trace), list[Measurement]()
    on_gpu = _largest(trace.of("memory"), "nvml_mib") or 0.0
    there = f"{on_gpu:.0f} MiB of it on the GPU" if on_gpu else ""
    for metric, (own, estimated) in (("resident_peak", _resident(trace)), ("committed_peak", _committed(trace))):
        if own is not None:
            value = own + on_gpu  # METHOD §3: what the driver counts for the process is no page of it
            remark = "; ".join(text for text in (invalid, estimated, there, held) if text)
            found.append(Measurement(metric=metric, value=value, unit="MiB", samples=(value,), remark=remark))
    return found
