"""Nights that were cut off are gone on with: as nights, not as the sweeps beneath them, so that they are judged."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from flows.up.api import Api
from storage.home import Home

#: A night that crashed longer ago than this is the next night's matter.
STILL = timedelta(hours=12)
#: So often: what cuts it off is perhaps the night itself, and somebody must look.
TIMES = 3
GOING = ["PENDING", "RUNNING", "CANCELLING", "SCHEDULED"]
NIGHT = re.compile(r"\d{4}-\d{2}-\d{2}")


def night_of(run: dict[str, Any]) -> str:
    """Its date; empty for a run that died before it was named by it."""
    return str((run.get("parameters") or {}).get("night") or "") or next(iter(NIGHT.findall(run["name"])), "")


@dataclass(slots=True)
class CutNights:
    home: Home
    api: Api
    say: Callable[[str], None]
    _wanted: set[str] = field(default_factory=set[str])
    _times: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, night: str) -> None:
        """A sweep of this night was cut off."""
        self._wanted.add(night)

    def look(self, deployment: str) -> None:
        """`deployment`: the id of the one that carries out nights. Raises NoAnswer."""
        mine = {"deployment_id": {"any_": [deployment]}}
        if any(not run["auto_scheduled"] or run["state_type"] != "SCHEDULED" for run in self.api.runs(GOING, **mine)):
            return  # one at a time; it may be the one that is wanted
        for night in sorted(self._wanted | self._crashed(deployment)):
            self._wanted.discard(night)
            if self._times.get(night, 0) < TIMES and not self._reported(night):
                self._go_on(night, deployment)
                break

    def _crashed(self, deployment: str) -> set[str]:
        """The night of the latest run, where that crashed."""
        body = {"flow_runs": {"deployment_id": {"any_": [deployment]}, "start_time": {"is_null_": False}}}
        latest: list[dict[str, Any]] = self.api.post(
            "/flow_runs/filter", {**body, "sort": "START_TIME_DESC", "limit": 1}
        )
        if not latest or latest[0]["state_type"] != "CRASHED":
            return set()
        run = latest[0]
        night = night_of(run)
        began = datetime.fromisoformat(run["start_time"])
        return {night} if night and datetime.now(UTC) - began < STILL else set()

    def _reported(self, night: str) -> bool:
        from storage import nights  # noqa: PLC0415 - the database's library, for nights that were cut off alone

        return nights.report(self.home, night) is not None

    def _go_on(self, night: str, deployment: str) -> None:
        self._times[night] = self._times.get(night, 0) + 1
        state = {"type": "SCHEDULED", "message": "the night was cut off; `quantfarm up` goes on with it"}
        body = {"parameters": {"night": night}, "tags": ["gone-on"], "state": state}
        self.api.post(f"/deployments/{deployment}/create_flow_run", body)
        self.say(f"going on with the night {night} (time {self._times[night]})")
