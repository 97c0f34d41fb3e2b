"""What a person who watches a sweep sees: each cell's state and figure, and the time left."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from flows.progress import News
from quantfarm.nouns import Cell, Landed, State, metric_of

#: The figure shown for a landed cell, by its kind of workload.
FIGURES = {"bench": ("bench_tg", "bench_pp"), "app": ("decode_tps", "ttft"), "quality": ("ppl", "kld_mean")}
ROWS = 12


def figure(landed: Landed) -> str:
    """The two figures that matter most of a cell, or why it failed."""
    if landed.outcome.state is not State.OK:
        return f"{landed.outcome.stage}: {landed.outcome.reason}"
    found = (metric_of(landed.measurements, name) for name in FIGURES.get(landed.cell.workload.kind, ()))
    return "   ".join(f"{m.metric} {m.value:.4g} {m.unit}".rstrip() for m in found if m)


class TimeLeft:
    """Remaining cells × the median time of the cells of their kind that have landed."""

    def __init__(self) -> None:
        self.took: dict[str, list[float]] = {}

    def add(self, landed: Landed) -> None:
        self.took.setdefault(landed.cell.workload.kind, []).append(landed.seconds)

    def estimate(self, waiting: dict[str, Cell]) -> float | None:
        """Seconds; None before the first cell has landed. Devices run side by side: the slowest lane counts."""
        everything = [s for took in self.took.values() for s in took]
        if not everything:
            return None
        lanes: dict[str, float] = {}
        for cell in waiting.values():
            took = self.took.get(cell.workload.kind, everything)
            lanes[cell.profile.name] = lanes.get(cell.profile.name, 0.0) + statistics.median(took)
        return max(lanes.values(), default=0.0)


class LiveTable:
    """A listener that draws a table while the sweep runs; plain lines where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.left = TimeLeft()
        self.waiting: dict[str, Cell] = {}
        self.running: dict[str, tuple[Cell, float]] = {}
        self.done: deque[tuple[Cell, str, str]] = deque(maxlen=ROWS)
        self.note = "preparing"
        self.known = 0
        self.lock = threading.RLock()
        self.progress = Progress(
            BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"), console=console
        )
        self.bar = self.progress.add_task("cells", total=None, left="")
        # Drawn rarely: what draws here runs beside what is measured.
        self.live = Live(self, console=console, refresh_per_second=1, transient=True)

    def __enter__(self) -> LiveTable:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def __rich__(self) -> RenderableType:
        with self.lock:
            table = Table("", "cell", "figure", box=None, show_header=False, pad_edge=False)
            for cell, mark, text in self.done:
                table.add_row(mark, cell.label, Text(text, style="red" if mark == "✗" else "", overflow="ellipsis"))
            for cell, since in self.running.values():
                table.add_row("▶", cell.label, f"{time.monotonic() - since:.0f} s")
            return Group(table, Text(self.note, style="dim"), self.progress)

    def tell(self, news: News) -> None:
        with self.lock:
            getattr(self, f"_{news.kind}", self._note)(news)

    def _say(self, text: str, style: str = "") -> None:
        self.note = text
        if not self.console.is_terminal:
            self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def _note(self, news: News) -> None:
        if news.text:
            self._say(f"{news.kind} {news.text}" if news.kind != "note" else news.text)

    def _waiting(self, news: News) -> None:
        self.console.print(news.text, style="yellow", markup=False)

    def _plan(self, news: News) -> None:
        assert news.plan
        self.waiting = {cell.id: cell for cell in news.plan.cells}
        self.progress.update(self.bar, total=len(self.waiting))
        for skip in news.plan.skips:
            self.console.print(
                f"skipped {skip.device} · {skip.variant} · {skip.workload}: {skip.reason}", style="yellow"
            )

    def _started(self, news: News) -> None:
        assert news.cell
        self.running[news.cell.id] = (news.cell, time.monotonic())

    def _known(self, news: News) -> None:
        assert news.cell
        self.known += 1
        self._over(news.cell)

    def _landed(self, news: News) -> None:
        assert news.cell and news.landed
        self.note = ""
        mark = "✓" if news.landed.outcome.state is State.OK else "✗"
        self.running.pop(news.cell.id, None)
        self.left.add(news.landed)
        self._over(news.cell)
        self.done.append((news.cell, mark, figure(news.landed)))
        if not self.console.is_terminal:
            line = f"{mark} {news.cell.label}   {figure(news.landed)}   {self._time_left()}"
            self.console.print(line, style="red" if mark == "✗" else "", markup=False, highlight=False, soft_wrap=True)

    def _over(self, cell: Cell) -> None:
        self.waiting.pop(cell.id, None)
        total = self.progress.tasks[0].total or 0
        self.progress.update(self.bar, completed=total - len(self.waiting), left=self._time_left())

    def _time_left(self) -> str:
        seconds = self.left.estimate(self.waiting)
        return (
            ""
            if seconds is None
            else f"about {seconds / 60:.0f} min left"
            if seconds > 90
            else f"about {seconds:.0f} s left"
        )
