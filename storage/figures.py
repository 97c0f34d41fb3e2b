"""Figures of several launches as one: the launch is the unit of replication (METHOD §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantfarm.statistics.summary import Summary, summarise
from quantfarm.suites import QUALITY
from storage.runs import INVALID, Figure, Run

#: Below this many launches no interval of a median reaches 95 %.
ENOUGH = 6
NO_INTERVAL = f"no 95 % interval below {ENOUGH} launches"
#: What a quality cell's own interval covers (its estimate ± 1.96 standard errors).
OWN_COVERAGE = 0.95
#: Kinds whose launch is long, or compares within itself: its own interval is shown where there is one launch.
PAIRED_OR_LONG = frozenset({"sustained", "speculative"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A metric over launches. `values` are those behind the summary; `remark` is what a reader must know."""

    summary: Summary
    unit: str
    values: tuple[float, ...]
    valid: bool
    remark: str


def join(runs: Sequence[Run], metric: str) -> Joined | None:
    """The metric over runs of one series; None where no launch has it.

    Launches whose figure is invalid do not count, unless all are: then the figure is not valid.
    """
    measured = sorted((run for run in runs if metric in run.figures), key=lambda run: run.launch)
    if not measured:
        return None
    good = [run for run in measured if run.figures[metric].valid]
    used = [run.figures[metric] for run in good or measured]
    own = used[0] if _is_own(measured[0], used) else None
    return Joined(
        summary=_own(own) if own else summarise([figure.value for figure in used]),
        unit=used[0].unit,
        values=tuple(figure.value for figure in used),
        valid=bool(good),
        remark="; ".join(_remarks(used, own, left_out=len(measured) - len(used))),
    )


def _is_own(run: Run, used: Sequence[Figure]) -> bool:
    """A cell of quality is measured in one launch, whose own interval is over its tokens; the steady rate of one
    sustained launch has its runs', a speculative one its pairs'. Several launches are the replicates."""
    return len(used) == 1 and (run.kind in QUALITY or (run.kind in PAIRED_OR_LONG and used[0].low is not None))


def _own(figure: Figure) -> Summary:
    coverage = OWN_COVERAGE if figure.low is not None and figure.high is not None else None
    return Summary(value=figure.value, mad=0.0, n=figure.n, low=figure.low, high=figure.high, coverage=coverage)


def _remarks(used: Sequence[Figure], own: Figure | None, left_out: int) -> list[str]:
    """What makes it invalid first, then what else is to be known, each once."""
    said = dict.fromkeys(figure.remark for figure in used if figure.remark)
    remarks = sorted(said, key=lambda remark: not remark.startswith(INVALID))
    if left_out:
        remarks.append(f"{left_out} invalid launch{'es' if left_out > 1 else ''} left out")
    if own is None and len(used) < ENOUGH:
        remarks.append(NO_INTERVAL)
    return remarks
