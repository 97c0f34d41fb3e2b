"""Speed of one launch: llama-bench's rates, and what a person feels (METHOD §1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantfarm.metrics import faults
from quantfarm.metrics.conditions import as_held
from quantfarm.nouns import Measurement, Trace
from quantfarm.statistics.summary import summarise

#: Relative spread of repetitions above which a reader is told (1.4826·MAD/median: σ of a normal distribution).
SPREAD_LIMIT = 0.10
MAD_TO_SIGMA = 1.4826


def spread_remark(values: Sequence[float]) -> str:
    """ "spread 23 % over 5 repetitions", or nothing where they agree."""
    summary = summarise(values)
    spread = MAD_TO_SIGMA * summary.mad / summary.value
    return f"spread {spread:.0%} over {len(values)} repetitions".replace("%", " %") if spread > SPREAD_LIMIT else ""


def _rates(events: Sequence[Mapping[str, Any]]) -> list[float]:
    return [e["tokens"] / e["seconds"] for e in events if e["mode"] == "bench"]


def decode_rate(times: Sequence[int]) -> float | None:
    """(N - 1) / (t_N - t_1) in tokens per second; None for fewer than two tokens."""
    if len(times) < 2 or times[-1] == times[0]:
        return None
    return (len(times) - 1) / ((times[-1] - times[0]) / 1e9)


def _repetitions(trace: Trace) -> dict[str, tuple[str, list[float]]]:
    """metric -> (unit, its value in each repetition)."""
    app = [e for e in trace.of("decode") if e["mode"] == "app"]
    decode = [rate for e in app if (rate := decode_rate(e["times"])) is not None]
    return {
        "bench_pp": ("tok/s", _rates(trace.of("prefill"))),
        "bench_tg": ("tok/s", _rates(trace.of("decode"))),
        "decode_tps": ("tok/s", decode),
        "ttft": ("s", [(e["times"][0] - e["submit"]) / 1e9 for e in app]),
    }


def _measurement(metric: str, unit: str, values: Sequence[float], remark: str) -> Measurement:
    remarks = [text for text in (remark, spread_remark(values)) if text]
    return Measurement(
        metric=metric,
        value=summarise(values).value,
        unit=unit,
        n=len(values),
        samples=tuple(values),
        remark="; ".join(remarks),
    )


def measure(trace: Trace) -> list[Measurement]:
    """bench_pp, bench_tg, decode_tps (tok/s), ttft, load_time (s): medians over the repetitions of a launch.

    An unfinished trace and one that measured no speed (quality) have none; nor has sustained load, whose rates
    are those of a device that heats up (quantfarm.metrics.sustained).
    """
    if not trace.finished or trace.of("sustained"):
        return []
    remark = "; ".join(text for text in (faults.remark(trace), as_held(trace)) if text)
    found = [_measurement(name, unit, values, remark) for name, (unit, values) in _repetitions(trace).items() if values]
    seconds = trace.first("loaded").get("seconds")
    if found and seconds is not None:
        found.append(Measurement(metric="load_time", value=seconds, unit="s", samples=(seconds,)))
    return found
