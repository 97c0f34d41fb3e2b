"""The name of what is watched: one figure of one variant on one device. The build is not part of it.

A new build of a runtime is a fork of the series (quantfarm.statistics.series), not another series: that is where
a regression is looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from quantfarm.errors import UsageError, unknown
from quantfarm.nouns import Cell, digest


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SeriesKey:
    """`workload` is the workload's label: `bench pp512 tg128`; its other parameters are circumstances."""

    device: str
    model: str
    variant: str
    runtime: str
    workload: str
    metric: str

    @property
    def name(self) -> str:
        """What a person reads: `desk · reference Q4_K_M · llama_cpp · bench pp512 tg128 · bench_tg`."""
        return f"{self.device} · {self.model} {self.variant} · {self.runtime} · {self.workload} · {self.metric}"

    @property
    def id(self) -> str:
        """What a person types: eight hex digits, for ever the same for the same series."""
        return digest(asdict(self))[:8]


def key_of(cell: Cell, metric: str) -> SeriesKey:
    return SeriesKey(
        device=cell.profile.name,
        model=cell.variant.model,
        variant=cell.variant.name,
        runtime=cell.runtime,
        workload=cell.asked,
        metric=metric,
    )


def choose(keys: Sequence[SeriesKey], asked: str) -> SeriesKey:
    """The series with this id or name, or the only one that has all the words asked for.

    Raises UsageError where none or several match.
    """
    exact = [key for key in keys if asked in (key.id, key.name)]
    words = asked.split()
    matching = exact or [key for key in keys if words and all(word in key.name for word in words)]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise (
            unknown("series", asked, [key.id for key in keys])
            if keys
            else UsageError("no night was measured yet: run `quantfarm nightly run`")
        )
    told = "".join(f"\n  {key.id}  {key.name}" for key in sorted(matching)[:20])
    raise UsageError(f"{len(matching)} series match '{asked}'; name one by its id:{told}")
