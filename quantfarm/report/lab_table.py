"""Every variant of a device and model in a terminal: how good in one table, how fast and how large in another."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from quantfarm.candidates import Candidate
from quantfarm.report import columns as named
from quantfarm.report.columns import QUALITY, SPEED, TASKS, Column
from quantfarm.report.figures import NONE, mebibytes, number, share
from quantfarm.report.figures_table import points
from quantfarm.report.palette import colour
from quantfarm.statistics.increase import base_of, increase
from quantfarm.statistics.paired import PairedAccuracy
from quantfarm.statistics.resample import key
from quantfarm.statistics.summary import Summary
from quantfarm.statistics.tasks import differences

#: Columns of BENCHMARK.md that a terminal leaves out: others say nearly the same.
LEFT_OUT = frozenset({"same_top", "speculative_tps", "sustained_energy"})


def wanted(candidates: Sequence[Candidate]) -> bool:
    """Whether there is more to see than the frontier shows: tasks, several runtimes, or what has no speed."""
    tasks = any(column.table == TASKS for column in named.columns(candidates))
    return tasks or len({c.runtime for c in candidates}) > 1


@dataclass(frozen=True, slots=True)
class Shown:
    """A column as it is drawn. It is as wide as its widest cell or the longest word of its heading."""

    heading: str
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        return max(map(len, (*self.cells, *self.heading.split())), default=0) + 1


def tables(candidates: Sequence[Candidate], width: int = 400) -> list[Table]:
    """Largest first; only columns that somebody has a figure for, as many side by side as `width` holds."""
    ordered = sorted(candidates, key=lambda c: (-c.bits_per_weight, c.variant, c.runtime))
    found = [column for column in named.columns(ordered) if column.metric not in LEFT_OUT]
    good = [*_sizes(ordered), *(_shown(column, ordered) for column in found if column.table != SPEED)]
    fast = [_shown(column, ordered) for column in found if column.table == SPEED]
    room = width - sum(max(len(text) for text in texts) + 1 for texts in zip(*map(_who, ordered), strict=True))
    return [
        _table(part, ordered, title)
        for title, columns in ((QUALITY, good), (SPEED, fast))
        for part in _packed(columns, room)
    ]


def _who(candidate: Candidate) -> tuple[str, str]:
    return candidate.variant, candidate.runtime


def _sizes(candidates: Sequence[Candidate]) -> list[Shown]:
    return [
        Shown("MiB", tuple(mebibytes(c.size) if c.size else NONE for c in candidates)),
        Shown("bits/w", tuple(f"{c.bits_per_weight:.2f}" if c.bits_per_weight else NONE for c in candidates)),
    ]


def _packed(columns: Sequence[Shown], room: int) -> list[list[Shown]]:
    """In their order, each part as wide as there is room."""
    parts: list[list[Shown]] = []
    for column in columns:
        if parts and sum(one.width for one in parts[-1]) + column.width <= room:
            parts[-1].append(column)
        else:
            parts.append([column])
    return parts


def _table(columns: Sequence[Shown], candidates: Sequence[Candidate], title: str) -> Table:
    table = Table(
        box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", title=title, title_justify="left",
        title_style="bold",
    )  # fmt: skip
    table.add_column("variant", no_wrap=True)
    table.add_column("runtime", no_wrap=True)
    for column in columns:
        table.add_column(textwrap.fill(column.heading, column.width - 1), justify="right", no_wrap=True)
    for at, candidate in enumerate(candidates):
        row = [column.cells[at] for column in columns]
        if any(cell != NONE for cell in row):
            table.add_row(Text(candidate.variant, style=colour(candidate.variant)), candidate.runtime, *row)
    return table


def _shown(column: Column, candidates: Sequence[Candidate]) -> Shown:
    cells = [_cell(c, column, candidates) for c in candidates]
    return Shown(_heading(column, candidates), tuple(cells))


def _heading(column: Column, candidates: Sequence[Candidate]) -> str:
    paired = column.table == TASKS and any(column.metric in c.items for c in candidates)
    return column.heading + (" (95 %), Δ" if paired else " (95 %)" if column.table == TASKS else "")


def _cell(candidate: Candidate, column: Column, everyone: Sequence[Candidate]) -> str:
    summary = candidate.figures.get(column.metric)
    if summary is None:
        unsettled = column.metric == "sustained_steady" and "not_steady" in candidate.figures
        return "not steady" if unsettled else NONE
    if column.table == TASKS:
        return _accuracy(summary, _paired(candidate, everyone).get(column.metric))
    text = number(summary.value * column.factor, column.digits)
    return text + (_against(candidate, everyone) if column.metric == "ppl" else "")


def _accuracy(s: Summary, paired: PairedAccuracy | None) -> str:
    spread = f" ({s.low:.1f}–{s.high:.1f})" if s.low is not None and s.high is not None else ""
    return f"{s.value:.1f}{spread}" + (f", {points(paired)}" if paired else "")


def _paired(candidate: Candidate, everyone: Sequence[Candidate]) -> dict[str, PairedAccuracy]:
    base = base_of(everyone, candidate.runtime, has=lambda c: bool(c.items))
    return differences(base, candidate) if base is not None else {}


def _against(candidate: Candidate, everyone: Sequence[Candidate]) -> str:
    """` +1.2 % (+1.0 to +1.4 %)`: against the unquantized model, paired by chunk."""
    base = base_of(everyone, candidate.runtime)
    loss = increase(candidate, base) if base is not None and key(base) != key(candidate) else None
    if loss is None:
        return ""
    return f", {share(loss.share)} ({100 * math.expm1(loss.low):+.1f} to {100 * math.expm1(loss.high):+.1f})"


def footnote(candidates: Sequence[Candidate]) -> str:
    """What a reader must know of the figures; empty where nothing."""
    columns = named.columns(candidates)
    said = ["⚠ few documents: not that benchmark's score."] if named.few(columns) else []
    if any(column.table == TASKS for column in columns):
        said.append("Δ: percentage points against the unquantized model on the same documents, paired bootstrap 95 %.")
    return " ".join(said)
