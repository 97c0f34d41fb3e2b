"""What a run shows in Prefect's UI is for people to look at: that it cannot be shown never harms a sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from flows import artifacts
from flows.artifacts import Shelf
from tests.sweeping import landings
from tests.test_sweep_flow import fake

REFUSING = """
import json, sys
from storage.home import Home
from flows import settings
settings.prepare(Home.default())
from prefect.client.orchestration import SyncPrefectClient
from flows import artifacts

def refuse(*_, **__):
    print("REFUSED", file=sys.stderr)
    raise RuntimeError("no artifacts today")

SyncPrefectClient.create_artifact = SyncPrefectClient.update_artifact = refuse
artifacts.PAUSE_S = 0.0
from flows.sweep import sweep
print(json.dumps(sweep(**json.loads(sys.argv[1]))))
"""


@pytest.mark.timeout(300)
def test_a_server_that_takes_no_artifact_costs_a_sweep_nothing(home: Path, prefect_server: str) -> None:
    common = {"n_prompt": 16, "n_gen": 8, "threads": 1}
    asked = {"quants": ["F16"], "devices": [fake(home, "bench-phone")], "suite": "speed", "launches": 2}
    command = [sys.executable, "-c", REFUSING, json.dumps({**asked, "common": common})]
    loud = {**os.environ, "PREFECT_LOGGING_LEVEL": "INFO"}
    ran = subprocess.run(command, env=loud, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    done = json.loads(ran.stdout.splitlines()[-1])
    assert (done["ok"], done["failed"]) == (4, 0)
    assert len(list(landings(home).all())) == 4
    assert ran.stderr.count("REFUSED") >= 3, "the plan, the progress and the cells were tried"
    assert "Traceback" not in ran.stdout + ran.stderr


def test_after_a_refusal_the_server_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bool] = []

    def no_client(**_: Any) -> Any:
        tried.append(True)
        raise OSError("no server")

    monkeypatch.setattr(artifacts, "get_client", no_client)
    shelf = Shelf(uuid.uuid4())
    shelf.markdown("one", "text")
    shelf.table("other", [{"a": 1}])
    assert len(tried) == 1
    monkeypatch.setattr(artifacts, "PAUSE_S", 0.0)
    fresh = Shelf(uuid.uuid4())
    fresh.progress("one", 10.0)
    fresh.progress("one", 20.0)
    assert len(tried) == 3


def test_outside_of_a_run_nothing_is_asked_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "get_client", lambda **_: pytest.fail("asked"))
    Shelf(None).markdown("one", "text")
    artifacts.markdown("one", "text")
