"""Decoding of several prompts at once, of one launch: its rate, and the memory that it takes.

A figure's name says how many prompts (`batch8_tps`): rates of different batches are different questions.
"""

from __future__ import annotations

from collections.abc import Sequence

from quantfarm.metrics import faults
from quantfarm.metrics.conditions import as_held
from quantfarm.metrics.speed import spread_remark
from quantfarm.nouns import Measurement, Trace
from quantfarm.statistics.summary import summarise

#: Figure -> its field in the `memory` event at a run's end. `cuda_peak`: torch.cuda.max_memory_allocated.
MEMORY = {"resident_peak": "hwm_mib", "cuda_peak": "cuda_allocated_peak_mib", "nvml": "nvml_mib"}


def figure(metric: str, batch: int) -> str:
    """`batch8_tps`, `batch1_resident_peak`, …"""
    return f"batch{batch}_{metric}"


def measure(trace: Trace) -> list[Measurement]:
    """batchN_tps (tok/s of all prompts together, from the first token of each to the last; median over the
    repetitions), batchN_resident_peak, batchN_cuda_peak, batchN_nvml (MiB). None of an unfinished trace."""
    events = trace.of("batch")
    if not trace.finished or not events:
        return []
    size, same = int(events[0]["batch"]), "; ".join(text for text in (faults.remark(trace), as_held(trace)) if text)
    rates = [event["tokens"] / event["seconds"] for event in events]
    remark = "; ".join(text for text in (same, spread_remark(rates)) if text)
    return [_figure("tps", size, rates, "tok/s", remark), *_memory(trace, size, same)]


def _memory(trace: Trace, size: int, remark: str) -> list[Measurement]:
    at_end = trace.of("memory")[-1:]
    found = [(name, event[field]) for event in at_end for name, field in MEMORY.items() if event.get(field) is not None]
    return [_figure(name, size, [float(value)], "MiB", remark) for name, value in found]


def _figure(metric: str, size: int, values: Sequence[float], unit: str, remark: str) -> Measurement:
    return Measurement(
        metric=figure(metric, size),
        value=summarise(values).value,
        unit=unit,
        n=len(values),
        samples=tuple(values),
        remark=remark,
    )
