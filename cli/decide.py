"""What a sweep ends with: the failures, the frontier as table and chart, and the recommended default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from flows import measured
from quantfarm import decide
from quantfarm.candidates import Candidate
from quantfarm.errors import FarmError
from quantfarm.report import lab_table, terminal
from quantfarm.statistics.frontier import pareto
from storage.home import Home


def show(found: Sequence[Candidate], console: Console) -> None:
    """One device and model: table, chart, recommendation."""
    frontier = pareto(found)
    made = decide.recommend(found)
    first = found[0]
    simulated = "  (simulated: these are not measurements)" if first.simulated else ""
    console.rule(f"{first.model} on {first.device}{simulated}", style="dim")
    if lab_table.wanted(found):
        _every_figure(found, console)
    console.print(terminal.summary(frontier, made, width=console.width, colours=console.is_terminal))


def _every_figure(found: Sequence[Candidate], console: Console) -> None:
    """Lines are as long as they are where nobody looks at a terminal: a file or a pipe cuts nothing off."""
    wide = console if console.is_terminal else Console(file=console.file, width=400)
    for table in lab_table.tables(found, wide.width):
        wide.print(table)
        wide.print()
    if said := lab_table.footnote(found):
        console.print(said, style="dim", markup=False, highlight=False, soft_wrap=True)


def summary(home: Home, counts: dict[str, Any], console: Console) -> None:
    """Counts, then what they decide; a sweep that cannot decide anything says why."""
    console.print(
        f"{counts['ok']} cells measured, {counts['known']} were there already, {counts['failed']} failed, "
        f"{counts['skipped']} skipped",
        style="red" if counts["failed"] else "",
    )
    for device in counts["devices"]:
        try:
            show(measured.of(home, device, counts["model"]), console)
        except FarmError as error:
            console.print(str(error), style="yellow", markup=False)
