"""What a metric is called, in which unit it is shown, and which way is better."""

from __future__ import annotations

import re

from quantfarm.decide.targets import MORE_IS_BETTER
from quantfarm.report import columns
from quantfarm.report.figures import NAMES

BATCH = re.compile(r"batch(\d+)_tps")
#: Beyond what targets are set for.
FURTHER_MORE = frozenset(
    {"sustained_first", "sustained_steady", "throttle_ratio", "speed_up", "speculative_tps", "acceptance_rate"}
    | {"rating"}
)
LESS = frozenset(
    {"ttft", "load_time", "resident_peak", "committed_peak", "cuda_peak", "ppl", "bits_per_byte", "kld_mean"}
    | {"bits_per_byte_rolling", "kld_median", "kld_p999", "kld_max", "rms_dp", "energy_per_token", "sustained_energy"}
    | {"temperature_max", "throttled", "time_to_steady"}
)
#: Metrics that are called by more than the report's tables have.
OTHERS = {
    "bits_per_byte_rolling": "bits per byte (rolling)",
    "kld_median": "median KL divergence",
    "kld_p999": "KL divergence (99.9 %)",
    "kld_max": "largest KL divergence",
    "rms_dp": "RMS difference of probability",
    "energy_per_token": "energy per token",
    "temperature_max": "highest temperature",
    "throttled": "looks that found it throttled",
}


def called(metric: str) -> str:
    """`decode speed`, `arc_easy acc`, `decode speed in a batch of 8`; the metric's own name where it has no other."""
    if task := columns.task(metric):
        return task.heading.removesuffix(" %")
    if batch := BATCH.fullmatch(metric):
        return f"speed in a batch of {batch[1]}"
    return NAMES.get(metric) or OTHERS.get(metric) or metric.replace("_", " ")


def more_is_better(metric: str) -> bool | None:
    """None for a metric that is neither better nor worse for being more."""
    if metric in MORE_IS_BETTER or metric in FURTHER_MORE or columns.task(metric) or BATCH.fullmatch(metric):
        return True
    return False if metric in LESS else None


def axis(metric: str, unit: str) -> str:
    """Of a plot: `decode speed (tok/s)`, `perplexity (lower is better)`."""
    said = [unit] if unit else []
    said += ["lower is better"] if more_is_better(metric) is False else []
    return called(metric) + (f" ({', '.join(said)})" if said else "")
