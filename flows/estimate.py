"""What a person is shown of a landed cell, and how long the others will take."""

from __future__ import annotations

import statistics
from collections import Counter, deque
from collections.abc import Iterable

from quantfarm.nouns import Cell, Landed, State, metric_of

#: The figure shown for a landed cell, by its kind of workload.
FIGURES = {
    **{"bench": ("bench_tg", "bench_pp"), "app": ("decode_tps", "ttft"), "quality": ("ppl", "kld_mean")},
    **{
        "sustained": ("sustained_steady", "throttle_ratio", "not_steady"),
        "speculative": ("speed_up", "acceptance_rate"),
        "rolling": ("bits_per_byte_rolling",),
    },
}
#: Times of this many cells of a kind are looked back on.
KEPT = 101


def figure(landed: Landed) -> str:
    """The two figures that matter most of a cell, or why it failed; why a device did not settle."""
    if landed.outcome.state is not State.OK:
        return f"{landed.outcome.stage}: {landed.outcome.reason}"
    names = FIGURES.get(landed.cell.workload.kind) or _accuracies(landed)
    found = (metric_of(landed.measurements, name) for name in names)
    said = (f"{m.metric} {m.value:.4g} {m.unit}" + f": {m.remark}" * (m.metric == "not_steady") for m in found if m)
    return "   ".join(one.rstrip() for one in said)


def _accuracies(landed: Landed) -> list[str]:
    """Of a task: its figures' names are its own."""
    return [m.metric for m in landed.measurements if m.metric.startswith("acc_") and "stderr" not in m.metric]


class TimeLeft:
    """Remaining cells × the median time of the cells of their kind that have landed."""

    def __init__(self, cells: Iterable[Cell] = ()) -> None:
        self._took: dict[str, deque[float]] = {}
        self._left: Counter[tuple[str, str]] = Counter((c.profile.name, c.workload.kind) for c in cells)

    @property
    def cells(self) -> int:
        return self._left.total()

    def add(self, landed: Landed) -> None:
        """One more is known to take so long."""
        self._took.setdefault(landed.cell.workload.kind, deque(maxlen=KEPT)).append(landed.seconds)

    def over(self, cell: Cell) -> None:
        """One less to wait for."""
        self._left[cell.profile.name, cell.workload.kind] -= 1

    def estimate(self) -> float | None:
        """Seconds; None before the first cell has landed. Devices run side by side: the slowest lane counts."""
        if not self._took:
            return None
        medians = {kind: statistics.median(took) for kind, took in self._took.items()}
        usual = statistics.median(medians.values())
        seconds: dict[str, float] = {}
        for (device, kind), left in self._left.items():
            seconds[device] = seconds.get(device, 0.0) + max(0, left) * medians.get(kind, usual)
        return max(seconds.values(), default=0.0)

    def words(self) -> str:
        """`about 12 min left`; empty before the first cell has landed."""
        seconds = self.estimate()
        if seconds is None:
            return ""
        return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"
