"""What a person who watches a sweep sees: each cell's state and figure, and the time left."""

from __future__ import annotations

import threading
import time
from collections import deque
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from flows.estimate import TimeLeft, figure
from flows.progress import News
from quantfarm.nouns import Cell, State

ROWS = 12


class LiveTable:
    """A listener that draws a table while the sweep runs; plain lines where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.left = TimeLeft()
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

    def _said(self, news: News) -> None:
        """What a device's programs said by the way: for logs."""

    def _waiting(self, news: News) -> None:
        if news.text != self.note:  # who waits looks every second
            self.note = news.text
            self.console.print(news.text, style="yellow", markup=False, soft_wrap=True)

    def _plan(self, news: News) -> None:
        assert news.plan
        self.left = TimeLeft(news.plan.cells)
        self.progress.update(self.bar, total=self.left.cells)
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
        if not news.text:  # else it is tried again
            self._over(news.cell)
        self.done.append((news.cell, mark, figure(news.landed)))
        if not self.console.is_terminal:
            line = f"{mark} {news.cell.label}   {figure(news.landed)}   {self.left.words()}"
            self.console.print(line, style="red" if mark == "✗" else "", markup=False, highlight=False, soft_wrap=True)

    def _over(self, cell: Cell) -> None:
        self.left.over(cell)
        total = self.progress.tasks[0].total or 0
        self.progress.update(self.bar, completed=total - self.left.cells, left=self.left.words())
