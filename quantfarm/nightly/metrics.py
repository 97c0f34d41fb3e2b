"""What is watched of each kind of workload, which way is worse, and what is too little to be a change."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quantfarm.decide.targets import MORE_IS_BETTER
from quantfarm.errors import unknown

HEAT = ("temperature_max", "throttled", "energy_per_token")
MEMORY = ("resident_peak", "committed_peak")
#: What is judged where the watch list does not say, the main figure of each kind first.
MAIN: dict[str, tuple[str, ...]] = {
    "bench": ("bench_tg", "bench_pp", "load_time", *MEMORY, *HEAT),
    "app": ("decode_tps", "ttft", "load_time", *MEMORY, *HEAT),
    "quality": ("ppl", "kld_mean", "same_top"),
    "canary": ("ppl",),
}
FURTHER = ("bits_per_byte", "kld_median", "kld_p999", "kld_max", "rms_dp", "temperature_start", "idle_power")
KNOWN = frozenset({*FURTHER, *(metric for metrics in MAIN.values() for metric in metrics)})
#: In the metric's unit: a smaller difference is none, whatever its share of a level near zero is.
LEAST = {
    "kld_mean": 1e-5,  # nat: what a CPU finds between a model and itself
    "kld_median": 1e-5,
    "kld_p999": 1e-3,
    "kld_max": 1e-2,
    "rms_dp": 0.01,  # %
    "throttled": 1.0,  # % of the looks
    "temperature_max": 1.0,  # °C
    "temperature_start": 1.0,
    "load_time": 0.005,  # s
}


def check(metrics: Sequence[str], where: str) -> None:
    """Raises UsageError for a metric that nothing here measures."""
    for metric in metrics:
        if metric not in KNOWN:
            raise unknown("metric", metric, KNOWN, where)


def watched(kind: str, asked: Sequence[str] = ()) -> tuple[str, ...]:
    """The metrics of a kind of workload that are judged."""
    main = MAIN.get(kind, ())
    return tuple(asked) or main


def is_worse(metric: str, old: float, new: float) -> bool:
    return new < old if metric in MORE_IS_BETTER else new > old


def ratio(old: float, new: float) -> float | None:
    """new ÷ old; None where one of them is not above zero."""
    return new / old if old > 0 and new > 0 else None


def change(metric: str, old: float, new: float) -> float:
    """The relative change without its sign: 0 where it is too little to be one, infinite from a level of zero."""
    difference = abs(new - old)
    if difference < LEAST.get(metric, 0.0) or difference == 0:
        return 0.0
    return difference / abs(old) if old else math.inf
