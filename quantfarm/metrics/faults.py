"""Major page faults while measuring: weights read from storage again instead of from memory."""

from __future__ import annotations

from quantfarm.nouns import Trace

#: What one fault is taken to cost (s), and the share of the measuring time that it may cost before figures are void.
FAULT_SECONDS = 1e-3
TOLERATED_SHARE = 0.01


def remark(trace: Trace) -> str:
    """Empty, "3 major page faults while measuring", or the same with "invalid:" before it.

    The measuring time is from the end of the first warm-up (until then a mapped file is read in
    by faults, rightly) to the last repetition; the counts are the sampler's.
    """
    began = trace.first("warmup").get("t")
    measured = [event["t"] for kind in ("prefill", "decode") for event in trace.of(kind)]
    if began is None or not measured:
        return ""
    samples = [s for s in trace.of("sample") if began <= s["t"] <= max(measured)]
    counts = [s["values"]["majflt"] for s in samples if "majflt" in s["values"]]
    grown = int(max(counts) - min(counts)) if counts else 0
    if grown == 0:
        return ""
    text = f"{grown} major page {'fault' if grown == 1 else 'faults'} while measuring"
    seconds = (max(measured) - began) / 1e9
    return f"invalid: {text}" if grown * FAULT_SECONDS > TOLERATED_SHARE * seconds else text
