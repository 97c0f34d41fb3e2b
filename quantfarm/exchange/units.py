"""Other tools' units in ours: MiB, s, J, tok/s, %."""

from __future__ import annotations

from collections.abc import Mapping

MIB = 2**20
#: Unit -> how many of ours it is.
MEMORY: Mapping[str, float] = {
    **{"B": 1 / MIB, "KiB": 2**10 / MIB, "MiB": 1.0, "GiB": 2.0**10, "TiB": 2.0**20},
    **{"kB": 1e3 / MIB, "MB": 1e6 / MIB, "GB": 1e9 / MIB},
}
TIME: Mapping[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
ENERGY: Mapping[str, float] = {"J": 1.0, "kWh": 3.6e6, "Wh": 3600.0}


def mib(value: float, unit: str) -> float:
    """Raises KeyError for a unit that is none of memory."""
    return value * MEMORY[unit]


def seconds(value: float, unit: str) -> float:
    """Raises KeyError for a unit that is none of time."""
    return value * TIME[unit]


def joules(value: float, unit: str) -> float:
    """Raises KeyError for a unit that is none of energy."""
    return value * ENERGY[unit]


def decode_tps(generation_tps: float, tokens: int) -> float | None:
    """mlx_lm's N / (t_N - t_1) as (N - 1) / (t_N - t_1) (METHOD §1); None for fewer than two tokens."""
    return generation_tps * (tokens - 1) / tokens if tokens > 1 else None
