"""Runs that died before their sweep was written down are begun again: nothing else would know that they were asked for.

Once the sweep is written down, going_on.py goes on with that; once a night has its date, cut_nights.py does. Which of
a run's beginnings one is, is its idempotency key: the server makes no second run of the same key, whoever asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.up import cut_nights
from flows.up.api import Api, Refused
from storage import sweeps
from storage.home import Home

#: So often for one original: what ends it is perhaps the request itself, and somebody must look.
TIMES = 3
#: Deaths since the last look are fewer.
NEWEST = 50
KEY = re.compile(r"again-([0-9a-f-]{36})-(\d+)")
BEGUN_AGAIN = ("sweep", "nightly")
GOING = ["RUNNING", "PENDING"]
CANCELS = ("CANCELLING", "CANCELLED")


@dataclass(slots=True)
class Again:
    """`rows`: what was begun again, by its original run."""

    home: Home
    api: Api
    say: Callable[[str], None]
    _over: set[str] = field(default_factory=set[str])  # deaths that were dealt with, or are from before
    _left: set[str] = field(default_factory=set[str])
    _rows: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    @property
    def rows(self) -> list[dict[str, Any]]:
        return list(self._rows.values())

    def start(self, *, go_on: bool) -> None:
        """Before any run of ours: what died earlier is over. What was cut off with the last `up` counts as dying now
        where a person wants to `go_on`. Raises NoAnswer."""
        self._over |= {run["id"] for run in self.api.runs(["CRASHED"])}
        if not go_on:
            self._left |= {run["id"] for run in self.api.runs(GOING)}

    def look(self, served: Mapping[str, str], alive: Collection[str]) -> None:
        """`served`: deployment's name -> id; `alive`: runs that have a process. Raises NoAnswer."""
        names = {key: name for name, key in served.items()}
        if not names:
            return
        for run in self._crashed(list(names)):
            # A run may be called dead while it lives, when its heartbeats were lost: its process says more.
            if run["id"] not in self._over and run["id"] not in alive:
                self._deal(run, names[run["deployment_id"]])
                self._over.add(run["id"])

    def _crashed(self, deployments: list[str]) -> list[dict[str, Any]]:
        which = {"state": {"type": {"any_": ["CRASHED"]}}, "deployment_id": {"any_": deployments}}
        return self.api.post("/flow_runs/filter", {"flow_runs": which, "sort": "END_TIME_DESC", "limit": NEWEST})

    def _deal(self, run: dict[str, Any], deployment: str) -> None:
        if run.get("work_pool_name") or self._others(run, deployment) or self._cancelled(run):
            return
        died = f"{run['name']} ({deployment}): its process is gone"
        if deployment not in BEGUN_AGAIN:
            self.say(f"{died}; start it again where it is still wanted")
        elif run["id"] in self._left:
            self.say(f"{died} since the last `quantfarm up`, before it had begun; start it again where it is wanted")
        else:
            self._again(run, deployment)

    def _others(self, run: dict[str, Any], deployment: str) -> bool:
        """Whether somebody else goes on with it."""
        if deployment == "nightly":
            return bool(run.get("start_time") and cut_nights.night_of(run))
        if deployment != "sweep":
            return False
        return bool((run.get("parameters") or {}).get("resume")) or run["id"] in sweeps.begun_by(self.home)

    def _cancelled(self, run: dict[str, Any]) -> bool:
        """Whether a person wanted its end before it died."""
        states = self.api.get(f"/flow_run_states/?flow_run_id={run['id']}")
        return any(state["type"] in CANCELS for state in states)

    def _again(self, run: dict[str, Any], deployment: str) -> None:
        known = KEY.fullmatch(run.get("idempotency_key") or "")
        original, times = (known[1], int(known[2])) if known else (run["id"], 0)
        row = self._rows.setdefault(original, {"original": original, "deployment": deployment, "given_up": False})
        row["times"], row["run"] = times, run["id"]
        died = f"{run['name']} ({deployment}) died before it had begun"
        if times >= TIMES:
            row["given_up"] = True
            return self.say(f"{died}, as often as it was begun again ({times} times); not tried again by itself")
        body = {
            "parameters": run.get("parameters") or {},
            "tags": run.get("tags") or [],
            "job_variables": run.get("job_variables") or {},
            "state": {"type": "SCHEDULED", "message": f"{run['name']} died before it had begun; it is begun again"},
            "idempotency_key": f"again-{original}-{times + 1}",
        }
        try:
            made = self.api.post(f"/deployments/{run['deployment_id']}/create_flow_run", body)
        except Refused as error:  # a device that was retired meanwhile
            row["given_up"] = True
            return self.say(f"{died}, and cannot be begun again as it was asked for: {error}")
        row["times"], row["run"] = times + 1, made["id"]
        return self.say(f"{died}: begun again as {made['name']} (time {times + 1})")
