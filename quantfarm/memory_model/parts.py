"""Resident memory by part, in MiB."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20
GIB = 1024.0  # MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything in MiB. `saved`: a copy of the KV cache that a bench workload at a depth keeps."""

    weights: float
    copies: float
    kv_cache: float
    compute: float
    process: float
    saved: float = 0.0

    @property
    def total(self) -> float:
        return self.weights + self.copies + self.kv_cache + self.compute + self.process + self.saved


def words(mib: float) -> str:
    """`5.1 GiB`, `161 MiB`, `8.3 MiB`."""
    if mib >= GIB:
        return f"{mib / GIB:.1f} GiB"
    return f"{mib:.0f} MiB" if mib >= 10 else f"{mib:.1f} MiB"


def error_percent(predicted: float, measured: float) -> float:
    """How far a prediction is off, in % of what was measured; above 0: too much was predicted."""
    return 100.0 * (predicted - measured) / measured
