"""What a person sees while a device is registered or checked: steps, how long they take, and what they found."""

from __future__ import annotations

import threading
from types import TracebackType

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from flows.progress import News
from flows.steps import Step

STYLES = {"warning": "yellow", "waiting": "yellow"}


class Steps:
    """A line for each device while it works, above it what was found; plain lines where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[about]}", style="dim"),
            console=console,
            transient=True,
            refresh_per_second=2,  # what draws here runs beside what is measured
        )
        self._lines: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Steps:
        if self.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.console.is_terminal:
            self._progress.stop()

    def step(self, step: Step) -> None:
        about = f"about {step.about_s:.0f} s" if step.about_s else ""
        with self._lock:
            if step.kind == "step" and self.console.is_terminal:
                self._show(step, about)
            else:
                text = f"{step.device}: {step.text}{f' ({about})' if about else ''}"
                self._print(text, STYLES.get(step.kind, ""))

    def tell(self, news: News) -> None:
        """What happens inside a step: a file on its way."""
        if news.text:
            self._print(news.text, STYLES.get(news.kind, "dim"))

    def pause(self) -> None:
        """Before a question: nothing draws over it."""
        if self.console.is_terminal:
            self._progress.stop()

    def go_on(self) -> None:
        if self.console.is_terminal:
            self._progress.start()

    def _show(self, step: Step, about: str) -> None:
        old = self._lines.pop(step.device, None)
        if old is not None:  # the first one's id is 0
            self._progress.remove_task(old)
        description = f"{step.device}: {step.text}".replace("[", "\\[")
        self._lines[step.device] = self._progress.add_task(description, total=None, about=about)

    def _print(self, text: str, style: str) -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
