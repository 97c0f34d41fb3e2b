"""Sweeps that were cut off are gone on with: at the start where a person says so, by itself while the farm is up.

A sweep is cut off when nobody carries it out, it has no end, and nobody stopped it (storage.sweeps). Going on is a
new flow run of the deployment `sweep` with the sweep's id: what has landed is not run again.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.up import state
from flows.up.api import Api
from quantfarm.errors import FarmError
from storage import atomic, sweeps
from storage.home import Home
from storage.sweeps import Unfinished

#: So often without one more cell finished: what cuts it off is perhaps the sweep itself, and somebody must look.
TIMES = 3
#: Seen dead for so long: between two looks at a lock its holder may have been starting.
SURE_S = 4.0
#: A sweep that ended badly so soon after the server or the serving process died was ended by that.
HURT_S = 90.0
STATES_OVER = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


def line(one: Unfinished) -> str:
    return f"sweep {one.sweep} of {one.model}: {one.finished} of {len(one.cells)} cells finished, began {one.began_at}"


def cut_off(home: Home) -> list[Unfinished]:
    """What the last `quantfarm up`, or whatever ended it, left unfinished."""
    interrupted = _interrupted(home)
    return [
        one
        for one in sweeps.unfinished(home, ended=True)
        if not one.alive and (not one.state or one.sweep in interrupted)
    ]


def interrupt(home: Home) -> None:
    """Written down when `up` is stopped: what is being carried out was not stopped for its own sake."""
    alive = [one.sweep for one in sweeps.unfinished(home) if one.alive]
    _keep(home, {*alive, *(one.sweep for one in cut_off(home))})


def forget(home: Home, sweep_ids: Iterable[str]) -> None:
    """These are gone on with: how they end from now on is what counts."""
    _keep(home, _interrupted(home) - set(sweep_ids))


def _keep(home: Home, interrupted: set[str]) -> None:
    with contextlib.suppress(FarmError):  # a full disk: they are then offered if they were cut off
        atomic.write_atomic(_file(home), json.dumps(sorted(interrupted)).encode())


def _interrupted(home: Home) -> set[str]:
    try:
        return {str(one) for one in json.loads(_file(home).read_bytes())}
    except (OSError, ValueError, TypeError):
        return set()


def _file(home: Home) -> Path:
    return state.folder(home) / "interrupted.json"


@dataclass(slots=True)
class _Going:
    """What is done about one sweep. `times`: how often it was gone on with by this `up`; `in_vain`: of these, how
    often since it had `finished` so many cells."""

    times: int = 0
    in_vain: int = 0
    finished: int = -1
    run: str = ""
    dead_since: float = 0.0
    told: bool = False


@dataclass(slots=True)
class GoingOn:
    """`left`: sweeps that were there at the start and that nobody wants gone on with."""

    home: Home
    api: Api
    say: Callable[[str], None]
    left: set[str] = field(default_factory=set[str])
    nights: Callable[[str], None] | None = None  # who goes on with a night; none: nobody serves them
    _going: dict[str, _Going] = field(default_factory=dict[str, _Going])
    _hurt: dict[str, float] = field(default_factory=dict[str, float])
    _wanted: set[str] = field(default_factory=set[str])
    _alive: set[str] = field(default_factory=set[str])
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def start_with(self, wanted: Iterable[str]) -> None:
        """These at once, whatever ended them."""
        self._wanted |= set(wanted)

    def hurt(self) -> None:
        """A part that sweeps need has died: one that ends badly in the next moments was cut off by that."""
        self._hurt |= dict.fromkeys(self._alive, time.monotonic())

    def look(self, deployment: str) -> None:
        """`deployment`: the id of the one that carries out sweeps. Raises NoAnswer."""
        self._hurt = {key: at for key, at in self._hurt.items() if time.monotonic() - at < HURT_S}
        ended = bool(self._hurt or self._wanted or self.left)
        found = sweeps.unfinished(self.home, ended=ended)
        self._alive = {one.sweep for one in found if one.alive}
        for one in found:
            if one.alive:
                self._wanted.discard(one.sweep)
                self._going.setdefault(one.sweep, _Going()).dead_since = 0.0
            elif self._is_cut_off(one):
                self._go_on(one, deployment)
        self.rows = [self._row(one) for one in found if one.alive or self._is_cut_off(one) or one.sweep in self.left]

    def _is_cut_off(self, one: Unfinished) -> bool:
        if one.sweep in self._wanted:
            return True
        if one.state:
            return one.sweep in self._hurt
        return one.sweep not in self.left

    def _go_on(self, one: Unfinished, deployment: str) -> None:
        going = self._going.setdefault(one.sweep, _Going())
        going.dead_since = going.dead_since or time.monotonic()
        if one.sweep not in self._wanted and time.monotonic() - going.dead_since < SURE_S:
            return
        if (night := str(one.request.get("night") or "")) and self.nights:
            sweeps.finish(self.home, one.sweep, "failed")  # the night measures with a sweep of its own what is missing
            self.nights(night)
        elif not self._waits(one, going):
            going.run, going.dead_since = self._begin(one, going, deployment), 0.0
            self.say(f"going on with {line(one)} (time {going.times})")
        else:
            return
        self._wanted.discard(one.sweep)
        self._hurt.pop(one.sweep, None)

    def _waits(self, one: Unfinished, going: _Going) -> bool:
        """Whether a run of it is still to begin, or it was tried in vain often enough."""
        if going.run and self.api.get(f"/flow_runs/{going.run}")["state_type"] not in STATES_OVER:
            return True
        if one.finished > going.finished:
            going.finished, going.in_vain = one.finished, 0
        if going.in_vain < TIMES:
            return False
        if not going.told:
            going.told = True
            self.say(f"{line(one)}: gone on with {TIMES} times in vain; not tried again by itself")
        return True

    def _begin(self, one: Unfinished, going: _Going, deployment: str) -> str:
        going.times += 1
        going.in_vain += 1
        body = {
            "parameters": {"resume": one.sweep},
            "tags": ["gone-on"],
            "state": {"type": "SCHEDULED", "message": "it was cut off; `quantfarm up` goes on with it"},
            "idempotency_key": f"go-on-{one.sweep}-{one.went_on}-{going.times}-{int(going.dead_since)}",
        }
        return str(self.api.post(f"/deployments/{deployment}/create_flow_run", body)["id"])

    def _row(self, one: Unfinished) -> dict[str, Any]:
        going = self._going.get(one.sweep, _Going())
        return {
            "sweep": one.sweep,
            "model": one.model,
            "cells": len(one.cells),
            "finished": one.finished,
            "alive": one.alive,
            "went_on": going.times,
            "given_up": going.told,
            "left": one.sweep in self.left,
        }
