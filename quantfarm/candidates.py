"""A candidate: one variant under one runtime on one device, with all that a decision needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quantfarm.statistics.paired import Answers
from quantfarm.statistics.summary import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Figures are summaries over launches; `launches` keeps the value of each launch.

    `chunk_nll[i]` is the summed nll (nats) of chunk i and `chunk_tokens[i]` its scored tokens;
    equal `text_sha256` and settings mean that chunk i is the same text for every candidate,
    so quality is compared by resampling chunks together (METHOD: shared chunk resamples).
    """

    device: str
    model: str
    variant: str
    runtime: str
    build: str
    artifact: str = ""  # sha256
    size: int = 0  # bytes
    bits_per_weight: float = 0.0
    types: Mapping[str, int] = field(default_factory=dict[str, int])
    fallbacks: tuple[str, ...] = ()
    figures: Mapping[str, Summary] = field(default_factory=dict[str, Summary])  # metric -> summary
    units: Mapping[str, str] = field(default_factory=dict[str, str])
    launches: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    workloads: Mapping[str, str] = field(default_factory=dict[str, str])  # metric -> workload label
    remarks: Mapping[str, str] = field(default_factory=dict[str, str])  # metric -> what a reader must know
    chunk_nll: tuple[float, ...] = ()
    chunk_tokens: tuple[int, ...] = ()
    text_sha256: str = ""
    items: Mapping[str, Answers] = field(default_factory=dict[str, Answers])  # acc figure of a task -> its answers
    conditions: Mapping[str, Any] = field(default_factory=dict[str, Any])
    simulated: bool = False
    failures: tuple[str, ...] = ()  # "bench: load: …" of cells that failed and have no good attempt
    reproduce: str = ""  # the command that measures it again
    shown_as: str = ""  # where the variant alone would not say which one it is

    @property
    def name(self) -> str:
        """What a reader calls it among the others."""
        return self.shown_as or self.variant

    @property
    def weights(self) -> float | None:
        """About how many weights the model has, from the file's size and bits per weight; None where not known."""
        return 8 * self.size / self.bits_per_weight if self.size and self.bits_per_weight else None

    def value(self, metric: str) -> float | None:
        summary = self.figures.get(metric)
        return summary.value if summary else None


def named(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each with its runtime in its name where a variant was measured under several on one device."""
    often = Counter((c.device, c.model, c.variant) for c in candidates)
    return [
        replace(c, shown_as=f"{c.variant} ({c.runtime})") if often[c.device, c.model, c.variant] > 1 else c
        for c in candidates
    ]
