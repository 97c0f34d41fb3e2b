"""Prefect's server dies in the middle of a sweep: measuring goes on to the end, and the sweep is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.settings import OFFLINE
from storage import sweeps
from storage.home import Home
from tests.conftest import _await
from tests.sweeping import landings, start
from tests.test_register_flow import free_port
from tests.test_sweep_flow import fake

SWEEP = ("--quants", "F16", "--suite", "speed", "--launches", "4", "-p", "16", "-n", "8", "--threads", "1", "--json")


@pytest.mark.timeout(600)
def test_a_dead_server_costs_nothing(home: Path, tmp_path: Path) -> None:
    devices = [fake(home, name, sleep_s=1) for name in ("phone-a", "phone-b")]
    url = f"http://127.0.0.1:{(port := free_port())}/api"
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    environment = {**os.environ, **OFFLINE, "PREFECT_HOME": str(tmp_path / "prefect")}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    process = None
    try:
        _await(f"{url}/health", server, tmp_path / "log")
        process = start("sweep", "--devices", ",".join(devices), *SWEEP, PREFECT_API_URL=url)
        end = time.monotonic() + 120
        while len(list(landings(home).all())) < 3:
            assert time.monotonic() < end, "nothing landed"
            time.sleep(0.1)
        server.kill()
        out, err = process.communicate(timeout=300)
    finally:
        for one in (server, process):
            if one:
                one.kill()
                one.wait()
    assert process and process.returncode == 0, out + err
    done = json.loads(out)
    assert (done["ok"], done["failed"]) == (16, 0)
    assert len(list(landings(home).all())) == 16
    assert not sweeps.unfinished(Home(home), ended=True)
