"""The farm while it is up: its parts kept running, itself looked at, its state written down."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flows import automations, reaper
from flows.up import going_on, late, logs, state
from flows.up.api import NoAnswer
from flows.up.kept import Kept
from flows.up.parts import Wish, flows_log
from flows.up.watch import Watch
from quantfarm.errors import FarmError
from storage import processes
from storage.home import Home

TICK_S = 0.25
WRITE_EVERY_S = 3.0
NOTES = 20


@dataclass(slots=True)
class Farm:
    """`tell` gets what a person should see; it is also in HOME/up/up.log. `go_on`: unfinished sweeps to go on with."""

    home: Home
    wish: Wish
    parts: list[Kept]
    tell: Callable[[str], None]
    go_on: frozenset[str] = frozenset()
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    notes: list[str] = field(default_factory=list[str])
    watch: Watch = field(init=False)
    _said_up: bool = False
    _prepared: bool = False
    _written: float = 0.0
    _unwritten: str = ""

    def __post_init__(self) -> None:
        api = self.wish.server.api
        left = {one.sweep for one in going_on.cut_off(self.home)} - self.go_on
        going = going_on.GoingOn(self.home, api, self.say, left=left)
        going.start_with(self.go_on)
        self.watch = Watch(
            home=self.home,
            api=api,
            nightly=self.wish.nightly,
            say=self.say,
            answers=lambda: self.ready("server") and self.ready("serving"),
            serving=lambda: self._pid("serving"),
            going_on=going,
        )

    def say(self, text: str) -> None:
        line = f"{datetime.now().astimezone().isoformat(sep=' ', timespec='seconds')} {text}"
        self.notes = [*self.notes, line][-NOTES:]
        log = state.folder(self.home) / "up.log"
        logs.bound(log)
        try:
            with log.open("a") as file:
                file.write(line + "\n")
        except OSError:  # a full disk: said where it hurts
            pass
        self.tell(text)

    def ready(self, name: str) -> bool:
        """Whether a part answers, and what must be done with it first is done."""
        found = next((one for one in self.parts if one.part.name == name), None)
        return found is not None and found.state == "up" and (name != "server" or self._prepared)

    def _pid(self, name: str) -> int:
        found = next((one.process for one in self.parts if one.part.name == name), None)
        return found.pid if found else 0

    @property
    def up(self) -> bool:
        return all(one.state == "up" for one in self.parts)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Until somebody asks to stop."""
        self.watch.start()
        while not stopped():
            self.tick()
            time.sleep(TICK_S)

    def tick(self) -> None:
        before = [(one.state, one.restarts) for one in self.parts]
        for one in self.parts:
            restarts = one.restarts
            one.look(self.ready, self.say)
            if one.restarts > restarts:
                self.watch.going_on.hurt()
        if not self._prepared and self.parts[0].state == "up":
            self._prepare()
        if self.up and not self._said_up:
            self._said_up = True
            self.say("everything is up: " + ", ".join(f"{one.part.name} {one.part.url}".strip() for one in self.parts))
        changed = before != [(one.state, one.restarts) for one in self.parts]
        if changed or time.monotonic() - self._written > WRITE_EVERY_S:
            self.write()

    def _prepare(self) -> None:
        """Before the first run is started: what was missed runs once, and what dies silently is noticed."""
        api = self.wish.server.api
        try:
            for name, many in late.tidy(api).items():
                self.say(f"{name}: {many} missed runs were cancelled, the newest is run")
            if done := automations.ensure(api):
                self.say(f"the automation for runs whose process is gone: {done}")
            self.watch.again.start(go_on=bool(self.go_on or self.wish.go_on))
        except NoAnswer as error:
            return self.say(f"not yet: {error}")
        self._prepared = True
        return None

    def write(self) -> None:
        self._written = time.monotonic()
        for log in (flows_log(self.home), *(one.part.log for one in self.parts)):
            logs.bound(log)
        try:
            state.write(self.home, self.told())
            self._unwritten = ""
        except (FarmError, OSError) as error:
            if str(error) != self._unwritten:
                self._unwritten = str(error)
                self.tell(f"the state cannot be written: {error}")

    def told(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "mark": processes.mark(),
            "token": os.environ.get(reaper.MARK, ""),
            "since": self.since,
            "home": str(self.home.root),
            "up": self.up,
            "parts": [one.told() for one in self.parts],
            "checks": self.watch.rows,
            "sweeps": self.watch.going_on.rows,
            "begun_again": self.watch.again.rows,
            "runs": self.watch.runs.pids,
            "notes": self.notes,
        }

    def stop(self) -> None:
        """The last started ends first; then whatever they left."""
        self.say("stopping")
        going_on.interrupt(self.home)
        self.watch.stop()
        for one in reversed(self.parts):
            one.stop()
        if token := os.environ.get(reaper.MARK):
            reaper.reap(token)
        self.write()
