"""The tables of a device and model in BENCHMARK.md: every figure with its spread and what it is of."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quantfarm.candidates import Candidate
from quantfarm.report import columns as named
from quantfarm.report.columns import QUALITY, SPEED, TASKS, Column
from quantfarm.report.figures import MAD_TO_SD, NONE, TINY, decimals, mebibytes, number, plus_minus, share
from quantfarm.statistics.increase import base_of, increase
from quantfarm.statistics.paired import PairedAccuracy
from quantfarm.statistics.resample import key
from quantfarm.statistics.summary import Summary
from quantfarm.statistics.tasks import differences

#: Below this many launches no interval of a median reaches 95 %.
NO_INTERVAL = 6
#: More cells in a row than this cannot be read: quality, tasks and speed then have tables of their own.
WIDEST = 12


def table(candidates: Sequence[Candidate], chosen: Candidate | None = None) -> str:
    """Markdown, one row per candidate in the order given; only columns that somebody has a figure for.

    Several tables where one would be too wide.
    """
    columns = named.columns(candidates)
    if _cells(columns, candidates) <= WIDEST:
        return _table(columns, candidates, chosen)
    parts = [[c for c in columns if c.table == kind] for kind in (QUALITY, TASKS, SPEED)]
    if _cells(both := [*parts[0], *parts[1]], candidates) <= WIDEST:
        parts = [both, [], parts[2]]
    return "\n\n".join(
        f"**{part[0].table if len({c.table for c in part}) == 1 else QUALITY}**\n\n{_table(part, having, chosen)}"
        for part in parts
        if part and (having := [c for c in candidates if any(one.metric in c.figures for one in part) or c.failures])
    )


def _cells(columns: Sequence[Column], candidates: Sequence[Candidate]) -> int:
    judged = base_of(candidates) is not None and any(column.metric == "ppl" for column in columns)
    return 3 + len(columns) + judged


def _table(columns: Sequence[Column], candidates: Sequence[Candidate], chosen: Candidate | None) -> str:
    several = len({(c.runtime, c.build) for c in candidates}) > 1
    headings = ["variant", "size MiB", "bits/ weight"]
    for column in columns:
        headings += [column.heading] + ([against(candidates)] if _judged(column, candidates) else [])
    rows = [_row(c, columns, candidates, chosen, several) for c in candidates]
    lines = [headings, ["---", *["--:"] * (len(headings) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def against(candidates: Sequence[Candidate]) -> str:
    """`against F16`; where several runtimes have bases of different names, what they are."""
    bases = {base.variant for c in candidates if (base := base_of(candidates, c.runtime))}
    return f"against {' or '.join(sorted(bases))}"


def _judged(column: Column, candidates: Sequence[Candidate]) -> bool:
    return column.metric == "ppl" and base_of(candidates) is not None


def _row(
    c: Candidate, columns: Sequence[Column], everyone: Sequence[Candidate], chosen: Candidate | None, several: bool
) -> list[str]:
    star = " ★" if chosen is not None and key(chosen) == key(c) else ""
    runtime = small(c.runtime) if several else ""
    cells = [f"**{escape(c.variant)}**{star}{runtime}", mebibytes(c.size) if c.size else NONE]
    cells.append(f"{c.bits_per_weight:.2f}" if c.bits_per_weight else NONE)
    paired = _differences(c, everyone) if any(column.table == TASKS for column in columns) else {}
    for column in columns:
        cells.append(_figure(c, column) + _paired(paired.get(column.metric)))
        if _judged(column, everyone):
            cells.append(_against_base(c, everyone))
    return cells


def _figure(candidate: Candidate, column: Column) -> str:
    summary = candidate.figures.get(column.metric)
    if summary is None:
        unsettled = column.metric == "sustained_steady" and "not_steady" in candidate.figures
        return "not steady" if unsettled else NONE
    if 0 < abs(summary.value * column.factor) < TINY:  # of a base against itself: its digits say nothing
        return number(summary.value * column.factor, 2)
    places = 1 if column.table == TASKS else decimals(summary.value * column.factor, column.digits)
    text = f"{summary.value * column.factor:.{places}f}"
    return text + (small(f"{spread}") if (spread := _spread(summary, column, places)) else "")


def _spread(s: Summary, column: Column, places: int) -> str:
    if s.low is not None and s.high is not None:
        return f"{s.low * column.factor:.{places}f}–{s.high * column.factor:.{places}f}"
    if not column.by_launch:  # of one text: a launch more is no replicate
        return ""
    return plus_minus(MAD_TO_SD * s.mad * column.factor, places) if s.n > 1 else "1 launch"


def _differences(candidate: Candidate, everyone: Sequence[Candidate]) -> dict[str, PairedAccuracy]:
    base = base_of(everyone, candidate.runtime, has=lambda c: bool(c.items))
    return differences(base, candidate) if base is not None else {}


def _paired(found: PairedAccuracy | None) -> str:
    return small(f"Δ {points(found)}") if found else ""


def points(found: PairedAccuracy) -> str:
    """`-1.2 (-2.3 to -0.1)`: percentage points against the base, with the paired interval."""
    return f"{found.delta:+.1f} ({found.low:+.1f} to {found.high:+.1f})"


def _against_base(candidate: Candidate, everyone: Sequence[Candidate]) -> str:
    base = base_of(everyone, candidate.runtime)
    if base is None or candidate.value("ppl") is None:
        return NONE
    if key(base) == key(candidate):
        return "base"
    loss = increase(candidate, base)
    if loss is None:
        return "not comparable"
    interval = small(f"{share(math.expm1(loss.low))} to {share(math.expm1(loss.high))}") if loss.error > 0 else ""
    return share(loss.share) + interval


def small(text: str) -> str:
    """A second, smaller line in a cell."""
    return f"<br><sub>{escape(text)}</sub>"


def escape(text: str) -> str:
    """Text that cannot end a cell or start a tag."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def legend(candidates: Sequence[Candidate]) -> str:
    """What the small figures are, and of how many launches: only what occurs in the table."""
    said: list[str] = []
    columns = named.columns(candidates)
    by_launch = {column.metric for column in columns if column.by_launch}
    speeds = [s for c in candidates for m, s in c.figures.items() if m in by_launch]
    counts = sorted({s.n for s in speeds})
    if any(s.low is not None for s in speeds):
        said.append("a range is the interval of the median over launches that covers at least 95 %")
    if any(s.low is None and s.n > 1 for s in speeds):
        said.append(f"± is 1.48 × MAD over launches: below {NO_INTERVAL} launches no interval of a median reaches 95 %")
    if any(c.figures.get("ppl") for c in candidates):
        said.append("perplexity and KLD have the 95 % interval over scored tokens")
    if base_of(candidates) is not None:
        said.append(
            f"*{against(candidates)}* is paired chunk by chunk, so it tells apart what the perplexities' own intervals "
            "do not"
        )
    said += _of_tasks(columns)
    launches = (
        f"Launches: {'–'.join(str(n) for n in (counts[:1] + counts[-1:] if len(counts) > 1 else counts))}. "
        if counts
        else ""
    )
    return launches + ". ".join(text[0].upper() + text[1:] for text in said) + ("." if said else "")


def _of_tasks(columns: Sequence[Column]) -> list[str]:
    tasks = [column for column in columns if column.table == TASKS]
    said = ["accuracies have Wilson's 95 % interval over documents; Δ is in percentage points against the unquantized "
            "model on the same documents, with the interval of the paired bootstrap"] if tasks else []  # fmt: skip
    if named.few(tasks):
        said.append("**⚠: a part of the benchmark's documents, which is not that benchmark's score**")
    return said


def workloads(candidates: Sequence[Candidate]) -> str:
    """`decode tok/s: app p128 n128; …`: which workload each column is of."""
    by_workload: dict[str, list[str]] = {}
    for column in named.columns(candidates):
        for label in sorted({c.workloads[column.metric] for c in candidates if c.workloads.get(column.metric)}):
            by_workload.setdefault(label, []).append(column.heading)
    return "; ".join(f"{', '.join(headings)}: `{label}`" for label, headings in by_workload.items())
