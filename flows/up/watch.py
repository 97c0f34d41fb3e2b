"""What is looked at while the farm is up, beside its parts: runs, sweeps that were cut off, the self-checks, the clock.

In a thread of its own: a server that answers slowly keeps nobody from starting a dead part again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flows import automations
from flows.up import checks, late, parts
from flows.up.again import Again
from flows.up.api import Api
from flows.up.clock import Clock
from flows.up.cut_nights import CutNights
from flows.up.going_on import GoingOn
from flows.up.runs import Runs
from quantfarm.errors import FarmError
from storage.home import Home

LOOK_EVERY_S = 3.0
CHECK_EVERY_S = 180.0
#: Until all is well, and after something was wrong, one looks more often.
CHECK_SOON_S = 5.0
#: After a start, the server's scheduler takes so long until it is wrong that there is nothing.
SETTLES_S = 60.0


@dataclass(slots=True)
class Watch:
    """`answers`: whether the server and the serving process do; `serving`: its pid, 0 where there is none."""

    home: Home
    api: Api
    nightly: bool
    say: Callable[[str], None]
    answers: Callable[[], bool]
    serving: Callable[[], int]
    going_on: GoingOn
    own_server: bool = True
    clock: Clock = field(default_factory=Clock)
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    runs: Runs = field(init=False)
    cut_nights: CutNights = field(init=False)
    again: Again = field(init=False)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _check_at: float = 0.0
    _begun: float = 0.0
    _wrong: dict[str, str] = field(default_factory=dict[str, str])  # what was warned of
    _clock_text: str = "never set back"

    def __post_init__(self) -> None:
        self.cut_nights = CutNights(self.home, self.api, self.say)
        self.runs = Runs(self.home, self.api, self.say)
        self.again = Again(self.home, self.api, self.say)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._all, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread:
            self._thread.join(30)

    def _all(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            if not self.answers():
                continue
            try:
                self.look()
            except (FarmError, OSError) as error:
                self._warn("watch", f"looking at the farm failed: {error}")
            except Exception as error:  # whatever the server says: the farm's watch goes on
                self._warn("watch", f"looking at the farm failed: {error!r}")

    def look(self) -> None:
        """Once. Raises NoAnswer and other FarmErrors: the next look comes soon."""
        self._begun = self._begun or time.monotonic()
        told = parts.beat(self.home)
        served = dict(told.get("deployments") or {})
        self._look_at_clock(told)
        self.runs.look(self.serving(), set(served.values()))
        if "sweep" in served:
            self.going_on.nights = self.cut_nights.add if "nightly" in served else None
            self.going_on.look(served["sweep"])
        if "nightly" in served:
            self.cut_nights.look(served["nightly"])
        self.again.look(served, self.runs.pids)
        if time.monotonic() >= self._check_at:
            self._check(told)

    def _look_at_clock(self, told: dict[str, Any]) -> None:
        jump = self.clock.jumped()
        if not jump:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        if jump > 0:
            self.say(f"the clock went {jump:.0f} s ahead: the machine slept, or it was set")
            for name, many in late.tidy(self.api).items():
                self.say(f"{name}: {many} missed runs were cancelled, the newest is run")
        else:
            self._clock_text = f"set back by {-jump:.0f} s (it was then {now}); the schedules were made anew"
            self.say(f"the clock was {self._clock_text}")
            checks.remake(self.api, told.get("due_by") or {})
        self._check_at = time.monotonic() + CHECK_SOON_S

    def _check(self, told: dict[str, Any]) -> None:
        at = checks.Looked(home=self.home, api=self.api, beat=told, nightly=self.nightly, own_server=self.own_server)
        found = [*checks.look(at), checks.Check("clock", True, self._clock_text), self._sweeps()]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.rows = [{"name": one.name, "ok": one.ok, "text": one.text, "at": now} for one in found]
        wrong = [one for one in found if not one.ok]
        self._check_at = time.monotonic() + (CHECK_SOON_S if wrong else CHECK_EVERY_S)
        if wrong and time.monotonic() - self._begun < SETTLES_S and not self._wrong:
            return  # it is just starting
        for one in found:
            if one.ok:
                self._well(one.name)
            else:
                self._warn(one.name, one.text)
                self._mend(one.name, told)

    def _mend(self, name: str, told: dict[str, Any]) -> None:
        """What can be mended by itself."""
        if name == "zombies" and (done := automations.ensure(self.api)):
            self.say(f"the automation for runs whose process is gone: {done}")
        elif name == "schedules":
            missing = checks.missing_runs(self.api, told.get("due_by") or {})
            if missing:
                checks.remake(self.api, missing)
                self.say(f"the schedules of {', '.join(missing)} were made anew")
                self._check_at = time.monotonic() + 3 * CHECK_SOON_S

    def _sweeps(self) -> checks.Check:
        given_up = [row["sweep"] for row in self.going_on.rows if row["given_up"]]
        text = f"cut off again and again: {', '.join(given_up)}" if given_up else "none is cut off"
        return checks.Check("sweeps", not given_up, text)

    def _warn(self, name: str, text: str) -> None:
        if self._wrong.get(name) != text:
            self.say(f"WARNING {name}: {text}")
        self._wrong[name] = text

    def _well(self, name: str) -> None:
        if self._wrong.pop(name, None):
            self.say(f"{name}: well again")
