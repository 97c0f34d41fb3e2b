"""A device that began a measurement warmer than at rest: its speeds say so (METHOD §4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from quantfarm.nouns import Measurement

#: Figures that a hot start moves; what a model answers and needs in memory, it does not.
MOVED = frozenset(
    {
        *("bench_pp", "bench_tg", "decode_tps", "ttft", "energy_per_token"),
        *("sustained_first", "sustained_steady", "throttle_ratio", "time_to_steady", "not_steady", "sustained_energy"),
        *("speed_up", "speculative_tps"),
    }
)


def remarked(measured: Sequence[Measurement], conditions: Mapping[str, Any]) -> tuple[Measurement, ...]:
    """The measurements; with `hot start` and what was waited for in vain in the remarks of those that it moves."""
    if not conditions.get("hot_start"):
        return tuple(measured)
    gate = cast("Mapping[str, Any]", conditions.get("gate") or {})
    awaited = ", ".join(str(what) for what in gate.get("awaited") or ())
    hot = f"hot start: {awaited}" if awaited else "hot start"
    return tuple(
        replace(one, remark=f"{one.remark}; {hot}" if one.remark else hot) if one.metric in MOVED else one
        for one in measured
    )
