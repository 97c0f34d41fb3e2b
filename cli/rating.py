"""A session in which a person judges answers without knowing who wrote them. Each mark is kept at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from cli.output import print_json
from cli.ratings import as_rows, show
from flows.stopping import Stopped
from quantfarm import ratings as judged
from quantfarm.answers import Answer
from quantfarm.errors import UsageError
from quantfarm.prompts import probes
from quantfarm.ratings import HIGHEST, LOWEST, Written, blind
from storage import ratings
from storage.home import Home
from storage.ingest import ingest

ASK = f"{LOWEST} (bad) … {HIGHEST} (good), s to skip, q to stop: "
SKIP, QUIT = "s", "q"


def rate(
    home: Home, prompt_set: str, rater: str, answers: Sequence[Answer], *, seed: int, answers_file: Path | None = None,
    console: Console, as_json: bool = False,
) -> None:  # fmt: skip
    """Asks for what this rater has not judged yet; prints the marks once nothing is left, so that all were blind."""
    if not rater.strip() or not rater.isprintable():
        raise UsageError("--rate is followed by the name of who judges")
    written = blind(answers, seed, rater)
    if (again := ratings.carried(home, rater, prompt_set, written)) and not as_json:
        console.print(f"{again} texts were judged before, when another variant wrote them", style="dim")
    done = ratings.done(home, rater, written)
    left = [one for one in written if one.key not in done]
    session = _Session(home, prompt_set, rater, console, of=len(written), known=len(written) - len(left))
    try:
        if answers_file:
            session.take(left, marks_of(answers_file, len(left)))
        else:
            session.ask(left)
    except KeyboardInterrupt:
        raise Stopped(f"stopped: {session.marked} marks are kept, the same command goes on") from None
    finally:
        ingest(home)
    rest = len(left) - session.marked
    rows = as_rows(ratings.all_ratings(home), prompt_set=prompt_set)
    if as_json:
        print_json({"rater": rater, "marked": session.marked, "left": rest, "ratings": rows if not rest else []})
    elif rest:
        console.print(f"{session.marked} marks kept; {rest} answers are left: the same command goes on", style="yellow")
    else:
        show(rows, console)


def marks_of(file: Path, wanted: int) -> list[int]:
    """One mark a line; empty lines do not count. Raises UsageError naming the line that is none, before any is kept."""
    try:
        lines = file.expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the marks in {file}: {error}") from error
    found: list[int] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        value = judged.mark(line)
        if value is None:
            raise UsageError(f"{file}, line {number}: '{line.strip()}' is no mark from {LOWEST} to {HIGHEST}")
        found.append(value)
    if len(found) > wanted:
        raise UsageError(f"{file} holds {len(found)} marks, and {wanted} answers are to be judged")
    return found


class _Session:
    """`marked` counts what was kept."""

    def __init__(self, home: Home, prompt_set: str, rater: str, console: Console, *, of: int, known: int) -> None:
        self.home, self.prompt_set, self.rater, self.console = home, prompt_set, rater, console
        self.of, self.known, self.marked = of, known, 0
        self._about = {probe.prompt: probe.probes for probe in probes(prompt_set)}
        self._began = time.monotonic()

    def take(self, left: Sequence[Written], marks: Sequence[int]) -> None:
        for one, value in zip(left, marks, strict=False):
            self._keep(one, value)

    def ask(self, left: Sequence[Written]) -> None:
        """Until all are judged, the person stops, or stdin ends."""
        shown = ""
        for number, one in enumerate(left):
            if one.prompt != shown:
                shown = one.prompt
                self.console.print()
                self.console.print(Panel(Text(one.prompt), title=self._about.get(one.prompt, ""), title_align="left"))
            self.console.print(Text(one.text.strip("\n") or "(nothing)"))
            self.console.print(self._where(number, len(left)), style="dim")
            given = self._mark()
            if given == QUIT:
                return
            if isinstance(given, int):
                self._keep(one, given)

    def _where(self, number: int, left: int) -> str:
        here = f"answer {self.known + number + 1} of {self.of}"
        if self.marked < 3:
            return here
        minutes = (time.monotonic() - self._began) / self.marked * (left - number) / 60
        return f"{here}, about {max(1, round(minutes))} min left"

    def _mark(self) -> int | str:
        while True:
            try:
                text = self.console.input(ASK).strip().lower()
            except EOFError:
                self.console.print()
                return QUIT
            if text in (SKIP, QUIT):
                return text
            value = judged.mark(text)
            if value is not None:
                return value
            self.console.print(f"'{text}' is no mark from {LOWEST} to {HIGHEST}", style="red", markup=False)

    def _keep(self, one: Written, value: int) -> None:
        ratings.add(self.home, self.rater, self.prompt_set, one, value)
        self.marked += 1
