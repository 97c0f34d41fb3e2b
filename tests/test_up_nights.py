"""Nights under `quantfarm up`: one that is cut off goes on, and is judged once."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from storage import nights
from storage.home import Home
from storage.sweeps import unfinished
from tests.farms import Farm, devices, farm, until

LAUNCHES = 8
WATCH = """
schedule: {{cron: '{cron}', timezone: UTC}}
watches:
  - devices: [phone]
    quants: [Q8_0]
    launches: {launches}
    workloads: [{{kind: bench, n_prompt: 16, n_gen: 8}}]
"""


def of_the_night(up: Farm) -> list[dict[str, Any]]:
    """The runs of the deployment `nightly` that somebody, or `up`, began."""
    mine = {"deployment_id": {"any_": [up.deployment("nightly")]}}
    found = up.api.all("/flow_runs/filter", {"flow_runs": mine, "sort": "START_TIME_ASC"})
    return [run for run in found if not run["auto_scheduled"]]


@pytest.mark.timeout(900)
def test_a_night_whose_process_is_killed_goes_on_and_has_one_report(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    devices(home, "phone", sleep_s=1.0)
    later = datetime.now(UTC) + timedelta(hours=12)
    (home / "nightly.yaml").write_text(WATCH.format(cron=f"{later.minute} {later.hour} * * *", launches=LAUNCHES))
    with farm(home) as up:
        up.await_up()
        night = f"{datetime.now(UTC):%Y-%m-%d}"
        path = f"/deployments/{up.deployment('nightly')}/create_flow_run"
        run = up.api.post(path, {"parameters": {"night": night}})["id"]
        up.await_landed(3)
        until(lambda: run in up.state["runs"], "the night's process")
        os.kill(up.state["runs"][run], signal.SIGKILL)
        until(lambda: nights.report(Home(home), night), "the night's report")
        assert of_the_night(up)[0]["state_type"] == "CRASHED"
        until(lambda: of_the_night(up)[-1]["state_type"] in ("COMPLETED", "FAILED"), "the night's end")
        assert len(of_the_night(up)) == 2
        assert f"going on with the night {night}" in up.output
        assert len(up.landed()) == LAUNCHES, "something was measured twice"
        assert unfinished(Home(home)) == []
