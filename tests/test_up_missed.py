"""Runs of a schedule that came due while nobody could start them: the newest runs, the others are cancelled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.up.api import Api
from tests.farms import Farm, farm, free_port, until

CHECKS = "check-devices"
MESSAGE = "a later run of the same schedule is due as well: of those that were missed, one is run"
OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
SERVER = """
import sys
from flows.serve import server
from storage.home import Home
with server(Home.default(), int(sys.argv[1]), lambda text: None):
    print("there", flush=True)
    sys.stdin.read()
"""


@contextmanager
def server_alone(port: int) -> Iterator[Api]:
    """The farm's own server, on its own database, while the farm is down."""
    command = [sys.executable, "-c", SERVER, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout and process.stdout.readline() == b"there\n"
            yield Api(f"http://127.0.0.1:{port}/api")
        finally:
            process.communicate(timeout=60)  # its end is the end of what it reads


def checks_every_hour(api: Api) -> bool:
    """As the farm registered it when it was up."""
    flow = api.post("/flows/", {"name": CHECKS})["id"]
    schedule = {"interval": 3600, "anchor_date": "2026-01-01T00:00:00Z"}
    body = {"name": CHECKS, "flow_id": flow, "entrypoint": "flows.deployed.check_devices"}
    api.post("/deployments/", {**body, "schedules": [{"schedule": schedule, "active": True}]})
    return True


def of_the_schedule(api: Api) -> list[dict[str, Any]]:
    """Its runs that are still to come."""
    found = api.runs(["SCHEDULED"], deployment_id={"any_": [api.deployments()[CHECKS]["id"]]})
    return [run for run in found if run["auto_scheduled"]]


def missed(api: Api) -> list[str]:
    """Three runs whose hour has come and gone, the oldest first."""
    runs = until(lambda: len(found := of_the_schedule(api)) >= 3 and found, "runs are made")[:3]
    for run, hours in zip(runs, (3, 2, 1), strict=True):
        then = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
        state = {"type": "SCHEDULED", "name": "Late", "state_details": {"scheduled_time": then}}
        api.post(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
    return [run["id"] for run in runs]


def the_newest_ran_and_the_others_say_why_not(up: Farm, runs: list[str]) -> None:
    until(lambda: all(up.run(run)["state_type"] in OVER for run in runs), "the missed runs are over")
    ended = [up.run(run) for run in runs]
    assert [run["state_type"] for run in ended] == ["CANCELLED", "CANCELLED", "COMPLETED"]
    assert [run["state"]["message"] for run in ended[:2]] == [MESSAGE, MESSAGE]
    assert [run["run_count"] for run in ended] == [0, 0, 1]


@pytest.mark.timeout(900)
def test_what_was_missed_while_the_farm_was_down_and_while_it_slept_runs_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    home.mkdir(exist_ok=True)
    port = free_port()
    with server_alone(port) as api:
        until(lambda: checks_every_hour(api), "the schedule")  # a server that is starting may be busy
        runs = missed(api)
    with farm(home, "--no-nightly", port=port) as up:
        up.await_up()
        the_newest_ran_and_the_others_say_why_not(up, runs)
        assert f"{CHECKS}: 2 missed runs were cancelled, the newest is run" in up.output

        serving = up.part("serving")["pid"]
        os.kill(serving, signal.SIGSTOP)  # it sleeps, and hours go by
        try:
            runs = missed(up.api)
        finally:
            os.kill(serving, signal.SIGCONT)
        the_newest_ran_and_the_others_say_why_not(up, runs)
        assert up.part("serving")["pid"] == serving, "it did not sleep, it was started anew"
