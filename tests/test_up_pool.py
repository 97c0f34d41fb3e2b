"""The farm past one machine: prefect.yaml, a work pool, a worker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import deployments, settings
from flows.up.api import Api
from storage.home import Home
from storage.sweeps import unfinished
from tests.conftest import ROOT
from tests.farms import devices, until
from tests.sweeping import landings

PREFECT = str(Path(sys.executable).parent / "prefect")


@pytest.fixture
def environment(home: Path, _server: str) -> dict[str, str]:
    """Of `prefect` as a user calls it: the farm's settings and the server's address."""
    return {**os.environ, **settings.OFFLINE, **settings.SERVED, "PREFECT_API_URL": _server, "NO_COLOR": "1"}


def prefect(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [PREFECT, "--no-prompt", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    """`prefect worker start`, in a folder of its own: the flows come from the installed package."""
    prefect(environment, "work-pool", "create", "quantfarm", "--type", "process", "--overwrite")
    log = tmp_path / "worker.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [PREFECT, "worker", "start", "--pool", "quantfarm"], cwd=tmp_path, env=environment, stdout=file, stderr=file
        )
    try:
        yield log
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_prefect_yaml_has_every_deployment_that_is_served_by_its_dotted_name() -> None:
    body: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    found = {one["name"]: one["entrypoint"] for one in body["deployments"]}
    assert found == {f"{name}-pool": f"{module}.{flow}" for name, (module, flow) in deployments.FLOWS.items()}


def test_a_worker_of_a_work_pool_carries_out_a_sweep(home: Path, environment: dict[str, str], worker: Path) -> None:
    devices(home, "phone", sleep_s=0.1)
    said = prefect(environment, "deploy", "--all")
    assert "sweep-pool" in said
    api = Api(environment["PREFECT_API_URL"])
    asked = {"model": "reference", "quants": ["Q8_0", "Q4_0"], "devices": ["phone"], "suite": "speed", "launches": 2}
    run = api.post(f"/deployments/{api.deployments()['sweep-pool']['id']}/create_flow_run", {"parameters": asked})["id"]

    def over() -> str:
        state = api.get(f"/flow_runs/{run}")["state"]
        return state["type"] if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else ""

    try:
        assert until(over, "the sweep's end") == "COMPLETED"
    except AssertionError:
        print(worker.read_text())  # noqa: T201
        raise
    assert len(list(landings(home).all())) == 8
    assert unfinished(Home(home)) == []
