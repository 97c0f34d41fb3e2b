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
class Runs:
    """`serving`: the pid of the serving process that is there now, 0 where there is none."""

    api: Api
    say: Callable[[str], None]
    pids: dict[str, int] = field(default_factory=dict[str, int])
    _missing: dict[str, float] = field(default_factory=dict[str, float])
    _told_to_stop: dict[str, float] = field(default_factory=dict[str, float])

    def look(self, serving: int, served: set[str]) -> None:
        """`served`: ids of the deployments whose runs are ours. Raises NoAnswer."""
        found = processes(os.environ.get(reaper.MARK, ""))
        self.pids = {run: process.pid for run, process in found.items()}
        going = [
            run
            for run in self.api.runs(["RUNNING", "PENDING", "CANCELLING"])
            if run.get("deployment_id") in served and not run.get("work_pool_name")
        ]
        for run in going:
            if process := found.get(run["id"]):
                self._missing.pop(run["id"], None)
                if run["state_type"] == "CANCELLING" and _parent(process) != serving:
                    self._stop(run, process)
            else:
                self._without_process(run)
        self._missing = {key: at for key, at in self._missing.items() if any(run["id"] == key for run in going)}

    def _stop(self, run: dict[str, Any], process: psutil.Process) -> None:
        asked = self._told_to_stop.get(run["id"])
        with contextlib.suppress(psutil.Error):
            if asked is None:
                self._told_to_stop[run["id"]] = time.monotonic()
                self.say(f"stopping {run['name']}, whose serving process died (process {process.pid})")
                process.terminate()
            elif time.monotonic() - asked > STOP_S:
                process.kill()

    def _without_process(self, run: dict[str, Any]) -> None:
        cancelled = run["id"] in self._told_to_stop
        since = self._missing.setdefault(run["id"], time.monotonic())
        if time.monotonic() - since < GONE_S and not cancelled:
            return
        kind = "CANCELLED" if run["state_type"] == "CANCELLING" else "CRASHED"
        self.api.set_state(run["id"], kind, GONE)
        self._told_to_stop.pop(run["id"], None)
        self.say(f"{run['name']}: {GONE} ({kind.lower()})")


def _parent(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return process.ppid()
    return 0
