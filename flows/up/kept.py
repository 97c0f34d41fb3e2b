"""One part of the farm as a process of its own: started, asked whether it answers, started again when it dies."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.up import logs
from storage import processes

#: Seconds before a part that died is started again: the first time at once, longer each time, and from the
#: beginning when it was well for a while.
BACK_OFF_S = (0.2, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
WELL_S = 60.0
#: A part that has not answered for so long is ended and started again.
HANGS_S = 90.0
ASK_EVERY_S = 5.0
ASK_AT_START_S = 0.3
STOP_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is started. `answers` is given the process's pid; `obstacle` says why it cannot be started now."""

    name: str
    command: tuple[str, ...]
    log: Path
    answers: Callable[[int], bool]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    without: tuple[str, ...] = ()  # variables of ours that are not for it
    url: str = ""
    start_s: float = 180.0
    needs: str = ""  # another part, which must answer before this one is started
    obstacle: Callable[[], str] = str
    last_words: Callable[[], None] = lambda: None  # before it is asked to end


@dataclass(slots=True)
class Kept:
    """States: waiting (for what it needs, or for its next start), starting, up, stopped."""

    part: Part
    state: str = "waiting"
    process: subprocess.Popen[bytes] | None = None
    mark: str = ""
    restarts: int = 0
    since: str = ""
    problem: str = ""
    _begun: float = 0.0
    _asked: float = 0.0
    _answered: float = 0.0
    _again_at: float = 0.0
    _in_a_row: int = 0

    def look(self, ready: Callable[[str], bool], tell: Callable[[str], None]) -> None:
        """What there is to do now. Never waits longer than one question takes."""
        if self.process is None:
            if time.monotonic() >= self._again_at and (not self.part.needs or ready(self.part.needs)):
                self._start(tell)
        elif (code := self.process.poll()) is not None:
            self._died(_how(code), tell)
        else:
            self._ask(self.process, tell)

    def _start(self, tell: Callable[[str], None]) -> None:
        if obstacle := self.part.obstacle():
            return self._later(obstacle, tell)
        try:
            self.process = self._process()
        except OSError as error:  # no room for a log, no memory for a process
            return self._later(str(error), tell)
        try:
            self.mark = processes.mark(self.process.pid)
        except (OSError, ProcessLookupError):  # gone already
            self.mark = f"{self.process.pid}-0"
        self._begun = self._answered = time.monotonic()
        return self._become("starting")

    def _later(self, obstacle: str, tell: Callable[[str], None]) -> None:
        if self.problem != obstacle:
            tell(f"{self.part.name} cannot be started: {obstacle}")
        self.problem = obstacle
        self._again_at = time.monotonic() + BACK_OFF_S[-1]

    def _process(self) -> subprocess.Popen[bytes]:
        logs.bound(self.part.log)
        with self.part.log.open("ab") as log:
            return subprocess.Popen(
                self.part.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for us, who end the parts in order
                env={k: v for k, v in os.environ.items() if k not in self.part.without} | dict(self.part.environment),
            )

    def _ask(self, process: subprocess.Popen[bytes], tell: Callable[[str], None]) -> None:
        now = time.monotonic()
        if now - self._asked < (ASK_AT_START_S if self.state == "starting" else ASK_EVERY_S):
            return
        answers = self.part.answers(process.pid)
        self._asked = now = time.monotonic()
        if answers:
            self._answered, self.problem = now, ""
            if self.state != "up":
                self._become("up")
                tell(f"{self.part.name} is up" + (f": {self.part.url}" if self.part.url else ""))
            if now - self._begun > WELL_S:
                self._in_a_row = 0
            return
        limit = self.part.start_s if self.state == "starting" else HANGS_S
        if now - self._answered > limit:
            process.kill()
            process.wait()
            self._died(f"did not answer for {limit:.0f} s", tell)

    def _died(self, how: str, tell: Callable[[str], None]) -> None:
        pause = BACK_OFF_S[min(self._in_a_row, len(BACK_OFF_S) - 1)]
        self.problem = f"{how}; its last line: {logs.last_line(self.part.log) or 'none'}"
        tell(f"{self.part.name} {self.problem}; starting it again in {pause:g} s")
        self.process, self.mark = None, ""
        self.restarts += 1
        self._in_a_row += 1
        self._again_at = time.monotonic() + pause
        self._become("waiting")

    def _become(self, state: str) -> None:
        self.state, self.since = state, datetime.now(UTC).isoformat(timespec="seconds")

    def stop(self, patience_s: float = STOP_S) -> None:
        """Asked to end, and killed where it does not."""
        if (process := self.process) and process.poll() is None:
            self.part.last_words()
            process.terminate()
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.process, self.mark = None, ""
        self._become("stopped")

    def told(self) -> dict[str, Any]:
        return {
            "name": self.part.name,
            "state": self.state,
            "pid": self.process.pid if self.process else None,
            "mark": self.mark,
            "url": self.part.url,
            "restarts": self.restarts,
            "since": self.since,
            "problem": self.problem,
            "log": str(self.part.log),
        }


def _how(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended by itself (exit status {code})"
