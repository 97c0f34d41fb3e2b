"""Metrics: a trace in, measurements out; pure, so every figure can be recomputed. One file and one line here each."""

from __future__ import annotations

from collections.abc import Callable

from quantfarm import tables
from quantfarm.nouns import Measurement, Trace

TABLE: dict[str, str] = {
    "speed": "quantfarm.metrics.speed:measure",
    "batch": "quantfarm.metrics.batch:measure",
    "sustained": "quantfarm.metrics.sustained:measure",
    "speculative": "quantfarm.metrics.speculative:measure",
    "memory": "quantfarm.metrics.memory:measure",
    "quality": "quantfarm.metrics.quality:measure",
    "rolling": "quantfarm.metrics.rolling:measure",
    "tasks": "quantfarm.metrics.tasks:measure",
    "thermal": "quantfarm.metrics.thermal:measure",
    "energy": "quantfarm.metrics.energy:measure",
}

Metric = Callable[[Trace], list[Measurement]]


def measure(trace: Trace) -> tuple[Measurement, ...]:
    """Every measurement that the trace supports: METHOD's names, units and definitions."""
    found: list[Measurement] = []
    for name in TABLE:
        metric: Metric = tables.load(TABLE, name, "metric")
        found.extend(metric(trace))
    return tuple(found)
