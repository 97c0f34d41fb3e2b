"""Flow runs and their processes: those whose serving process died live on, can be cancelled, and end as what they are.

Prefect's runner knows only the processes that it started itself. One that outlives its runner finishes like any
other (what it measures is worth more than a tidy family tree), but nobody would cancel it, and nobody would notice
that it is gone.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

from flows import reaper
from flows.up.api import Api
from storage import sweeps
from storage.home import Home

RUN = "PREFECT__FLOW_RUN_ID"
PROGRAM = "flows.flow_process"
#: A run without a process for so long is over: its own serving process would have said so by now.
GONE_S = 20.0
STOP_S = 30.0
GONE = "its process is gone; what was finished is kept"


def processes(token: str) -> dict[str, psutil.Process]:
    """Flow run id -> its process, of those that carry the mark of this `quantfarm up`."""
    found: dict[str, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            mine = environment.get(reaper.MARK) == token and process.status() != psutil.STATUS_ZOMBIE
            if mine and RUN in environment and PROGRAM in process.cmdline():  # not what it measures with
                found[environment[RUN]] = process
    return found


@dataclass(slots=True)
class _Stopping:
    """A run that a person cancelled and that we end, since its own runner is dead; with the sweeps that it does."""

    name: str
    since: float
    sweeps: list[str]


@dataclass(slots=True)
class Runs:
    """`pids`: flow run id -> the process that carries it out."""

    home: Home
    api: Api
    say: Callable[[str], None]
    pids: dict[str, int] = field(default_factory=dict[str, int])
    _missing: dict[str, float] = field(default_factory=dict[str, float])
    _stopping: dict[str, _Stopping] = field(default_factory=dict[str, _Stopping])

    def look(self, serving: int, served: set[str]) -> None:
        """`serving`: the serving process; `served`: ids of the deployments whose runs are ours. Raises NoAnswer."""
        found = processes(os.environ.get(reaper.MARK, ""))
        self.pids = {run: process.pid for run, process in found.items()}
        for run_id in [one for one in self._stopping if one not in found]:
            self._stopped(run_id)
        going = [
            run
            for run in self.api.runs(["RUNNING", "PENDING", "CANCELLING"])
            if run.get("deployment_id") in served and not run.get("work_pool_name")
        ]
        for run in going:
            process = found.get(run["id"])
            if process is None:
                self._without_process(run)
            elif run["state_type"] == "CANCELLING" and _parent(process) != serving:
                self._stop(run, process)
        lost = {run["id"] for run in going if run["id"] not in found}
        self._missing = {key: at for key, at in self._missing.items() if key in lost}

    def _stop(self, run: dict[str, Any], process: psutil.Process) -> None:
        asked = self._stopping.get(run["id"])
        with contextlib.suppress(psutil.Error):
            if asked is None:
                carried = sweeps.carried_out_by(self.home, process.pid)
                self._stopping[run["id"]] = _Stopping(run["name"], time.monotonic(), carried)
                self.say(f"stopping {run['name']}, whose serving process died (process {process.pid})")
                process.terminate()
            elif time.monotonic() - asked.since > STOP_S:
                process.kill()

    def _stopped(self, run_id: str) -> None:
        """It could not know that a person meant it: to itself it was cut off."""
        one = self._stopping[run_id]
        for sweep in one.sweeps:
            sweeps.finish(self.home, sweep, "stopped")
        self.api.set_state(run_id, "CANCELLED", "cancelled; what was finished is kept", force=True)
        del self._stopping[run_id]
        self.say(f"{one.name} is stopped")

    def _without_process(self, run: dict[str, Any]) -> None:
        since = self._missing.setdefault(run["id"], time.monotonic())
        if time.monotonic() - since < GONE_S:
            return
        kind = "CANCELLED" if run["state_type"] == "CANCELLING" else "CRASHED"
        self.api.set_state(run["id"], kind, GONE)
        self.say(f"{run['name']}: {GONE} ({kind.lower()})")


def _parent(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return process.ppid()
    return 0
