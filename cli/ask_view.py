"""What a person sees while variants answer: a column for each in a terminal, else each answer once it is there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType

from rich.columns import Columns as RichColumns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from flows.progress import News
from quantfarm.answers import Answer, Writer
from quantfarm.prompts import Probe

#: A column is not made narrower than this: what has no room beside the others stands below them.
NARROWEST = 36


def speed(answer: Answer) -> str:
    """`first token after 35 ms, 41 tok/s, 128 tokens (end of text)`."""
    rate = f"{answer.tps:.3g} tok/s, " if answer.tps else ""
    count = f"{answer.n} token{'s' if answer.n != 1 else ''}"
    ttft = f"{answer.ttft_s:.3g} s" if answer.ttft_s >= 1 else f"{1000 * answer.ttft_s:.3g} ms"
    return f"first token after {ttft}, {rate}{count} ({answer.ended})"


class Nobody:
    """Says what is made and waited for, and how many answers are there; no answer itself."""

    def __init__(self, console: Console, prompts: int) -> None:
        self.console, self.prompts = console, prompts
        self.of = self.done = 0

    def expect(self, writers: int) -> None:
        self.of = writers * self.prompts

    def tell(self, news: News) -> None:
        if news.text and news.kind != "said":
            text = news.text if news.kind in ("note", "waiting") else f"{news.kind} {news.text}"
            self._say(text, "yellow" if news.kind == "waiting" else "dim")

    def waiting(self, device: str, who: str) -> None:
        self._say(f"{device} is in use by {who}; waiting for it", "yellow")

    def piece(self, writer: Writer, text: str) -> None:
        """Not shown."""

    def answered(self, answer: Answer) -> None:
        self.done += 1
        if self.prompts > 1 and self.done % self.prompts == 0:
            self._say(f"{self.done} of {self.of} answers are there (last of {answer.writer.device})", "dim")

    def failed(self, writer: Writer, why: str) -> None:
        self._say(f"{writer.label} gave no answer: {why}", "red")

    def _say(self, text: str, style: str) -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


class Lines(Nobody):
    """Each answer with its figures when it is whole."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, 1)
        self.lock = threading.Lock()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing to end."""

    def answered(self, answer: Answer) -> None:
        with self.lock:
            self._say(f"{answer.writer.label}: {speed(answer)}", "bold")
            if answer.form.startswith("as it is:"):
                self._say(f"the prompt was given {answer.form}", "yellow")
            self._say(answer.text.strip("\n") + "\n", "")


def by_prompt(console: Console, asked: Sequence[Probe], answers: Sequence[Answer]) -> None:
    """A set's answers: those to one prompt together."""
    lines = Lines(console)
    for probe in asked:
        console.print(Panel(Text(probe.prompt), title=probe.probes, title_align="left"))
        for answer in answers:
            if answer.prompt == probe.prompt:
                lines.answered(answer)


class Columns(Lines):
    """A column for each variant, filled while it writes."""

    def __init__(self, console: Console, writers: Sequence[Writer]) -> None:
        super().__init__(console)
        self.texts: dict[Writer, str] = dict.fromkeys(writers, "")
        self.feet: dict[Writer, str] = dict.fromkeys(writers, "waits its turn")
        self.live = Live(self, console=console, refresh_per_second=4, vertical_overflow="visible")

    def __enter__(self) -> Columns:
        self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.live.stop()

    def __rich__(self) -> RenderableType:
        with self.lock:
            panels = [
                Panel(Group(Text(text), Text(self.feet[writer], style="dim")), title=writer.label, title_align="left")
                for writer, text in self.texts.items()
            ]
        if self.console.width < NARROWEST * len(panels):
            return RichColumns(panels, expand=True)
        table = Table.grid(expand=True)
        for _ in panels:
            table.add_column(ratio=1)
        table.add_row(*panels)
        return table

    def piece(self, writer: Writer, text: str) -> None:
        with self.lock:
            self.texts[writer] += text
            self.feet[writer] = "writes"

    def answered(self, answer: Answer) -> None:
        with self.lock:
            self.texts[answer.writer] = answer.text
            self.feet[answer.writer] = speed(answer)

    def failed(self, writer: Writer, why: str) -> None:
        with self.lock:
            self.texts[writer], self.feet[writer] = why, "failed"
