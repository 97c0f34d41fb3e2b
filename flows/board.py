"""What somebody who looks at a sweep's run in Prefect's UI sees while it goes on: how far it is, and its cells.

Written by a thread of its own, now and then, and never while this machine measures: a request to a server on
this machine is work like any other.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from flows.artifacts import Shelf
from flows.estimate import TimeLeft, figure
from flows.progress import News
from quantfarm.nouns import Cell, Landed, State

#: Seconds between two writings at least, however many cells land.
EVERY_S = 5.0
#: After a cell of this machine has landed the next one loads its model: for so long nothing is timed here.
GAP_S = 0.2
#: Rows of each kind that the table shows: it is sent whole, each time.
ROWS = 40
CELLS, PROGRESS = "sweep-cells", "sweep-progress"


class Board:
    """A listener. What it keeps does not grow with the sweep."""

    def __init__(self, shelf: Shelf, every_s: float = EVERY_S) -> None:
        self._shelf, self._every_s = shelf, every_s
        self._left = TimeLeft()
        self._total = self._there = self._failed = 0
        self._running: dict[str, tuple[Cell, float]] = {}
        self._wrong: deque[Landed] = deque(maxlen=ROWS)
        self._good: deque[Landed] = deque(maxlen=ROWS)
        self._here_until = 0.0  # nothing is timed on this machine before
        self._lock = threading.Lock()
        self._news, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="artifacts of the sweep", daemon=True)

    def __enter__(self) -> Board:
        if self._shelf.run:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._news.set()
        if self._shelf.run:
            self._thread.join(10)

    def tell(self, news: News) -> None:
        with self._lock:
            HEARD.get(news.kind, Board._nothing)(self, news)
        self._news.set()

    def _nothing(self, news: News) -> None:
        del news

    def _plan(self, news: News) -> None:
        assert news.plan
        self._left = TimeLeft(news.plan.cells)
        self._total = len(news.plan.cells)

    def _started(self, news: News) -> None:
        assert news.cell
        self._running[news.cell.id] = (news.cell, time.time())

    def _known(self, news: News) -> None:
        assert news.cell
        self._there += 1
        self._left.over(news.cell)

    def _landed(self, news: News) -> None:
        assert news.cell and news.landed
        self._running.pop(news.cell.id, None)
        if news.cell.profile.kind == "local":
            self._here_until = time.monotonic() + GAP_S
        good = news.landed.outcome.state is State.OK
        (self._good if good else self._wrong).append(news.landed)
        self._left.add(news.landed)
        if news.text:  # tried again
            return
        self._left.over(news.cell)
        self._failed += not good

    def _run(self) -> None:
        while not self._over.is_set():
            self._news.wait()
            self._news.clear()
            if self._total and self._quiet():
                self.write()
                self._over.wait(self._every_s)
        if self._total:
            self.write()

    def _quiet(self) -> bool:
        """Whether nothing is timed on this machine; the news of a landing opens a moment."""
        with self._lock:
            here = any(cell.profile.kind == "local" for cell, _ in self._running.values())
            return not here or time.monotonic() < self._here_until

    def write(self) -> None:
        with self._lock:
            percent, words, rows, more = self._percent(), self._words(), self._rows(), self._unlisted()
        self._shelf.progress(PROGRESS, percent, words)
        self._shelf.table(CELLS, rows, f"{words}{f'. {more:,} more cells are not listed here.' if more else ''}")

    @property
    def _finished(self) -> int:
        return self._total - self._left.cells

    def _percent(self) -> float:
        return round(100 * self._finished / max(1, self._total), 1)

    def _words(self) -> str:
        parts = [f"{self._finished:,} of {self._total:,} cells"]
        parts += [f"{self._there:,} were there already"] if self._there else []
        parts += [f"{self._failed:,} failed"] if self._failed else []
        parts += [self._left.words()] if self._finished < self._total and self._left.words() else []
        return ", ".join(parts)

    def _rows(self) -> list[dict[str, Any]]:
        running = [(cell, "running", f"{time.time() - since:.0f} s") for cell, since in self._running.values()]
        landed = [(one.cell, "failed", figure(one)) for one in reversed(self._wrong)]
        landed += [(one.cell, "ok", figure(one)) for one in reversed(self._good)]
        return [
            {"device": cell.profile.name, "cell": cell.label, "state": state, "figure or reason": text}
            for cell, state, text in running[:ROWS] + landed
        ]

    def _unlisted(self) -> int:
        shown = min(ROWS, len(self._running)) + len(self._good) + len(self._wrong)
        return max(0, self._total - shown)


#: What each kind of news changes.
HEARD = {"plan": Board._plan, "started": Board._started, "known": Board._known, "landed": Board._landed}
