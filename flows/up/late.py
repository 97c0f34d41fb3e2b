"""Runs of schedules that nobody could start in time: the machine slept, or the farm was not up. One of each schedule
is run, the newest; the others are cancelled."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from flows.up.api import Api

MISSED = "a later run of the same schedule is due as well: of those that were missed, one is run"


def tidy(api: Api) -> dict[str, int]:
    """How many were cancelled of each deployment. Raises NoAnswer."""
    names = {one["id"]: name for name, one in api.deployments().items()}
    due: dict[str, list[dict[str, Any]]] = defaultdict(list)
    before = {"before_": datetime.now(UTC).isoformat()}
    runs = api.runs(["SCHEDULED"], next_scheduled_start_time=before)
    for run in sorted(runs, key=lambda run: run["next_scheduled_start_time"]):
        if run.get("auto_scheduled") and run.get("deployment_id") in names:
            due[run["deployment_id"]].append(run)
    missed = {names[key]: runs[:-1] for key, runs in due.items() if len(runs) > 1}
    for runs in missed.values():
        for run in runs:
            api.set_state(run["id"], "CANCELLED", MISSED)
    return {name: len(runs) for name, runs in missed.items()}
