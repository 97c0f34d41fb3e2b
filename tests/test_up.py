"""quantfarm up: everything on one machine, kept running, looked at, and ended together."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import automations
from storage.home import Home
from storage.sweeps import unfinished
from tests.farms import Farm, devices, farm, free_port, left, until
from tests.sweeping import QUANTFARM, landings, quantfarm, start

PARTS = ("server", "serving", "dashboard")
SERVED = {"sweep", "register-device", "check-devices", "nightly", "report", "rebuild-database"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """One farm for the tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("farm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTFARM_HOME", str(folder / "home"))
        patch.setenv("QUANTFARM_LEASES", str(folder / "leases"))
        patch.delenv("PREFECT_API_URL", raising=False)
        devices(folder / "home", "phone", "laptop")
        with farm(folder / "home") as made:
            made.await_up()
            yield made


def test_it_prints_where_everything_is_and_answers_there(shared: Farm) -> None:
    shared.await_said("everything is up")
    assert f"http://127.0.0.1:{shared.port}" in shared.output
    dashboard = shared.part("dashboard")["url"]
    assert f"dashboard {dashboard}" in shared.output
    for url in (f"http://127.0.0.1:{shared.port}", dashboard):
        with urllib.request.urlopen(f"{url}/") as page:  # noqa: S310 - our own
            assert page.status == 200
    assert set(shared.api.deployments()) == SERVED


def test_status_tells_each_part_and_the_self_checks(shared: Farm) -> None:
    shared.await_checked()
    found = shared.status(code=0)
    assert found["well"]
    assert found["pid"] == shared.process.pid
    assert {one["name"]: one["state"] for one in found["parts"]} == dict.fromkeys(PARTS, "up")
    names = {"deployments", "schedules", "zombies", "slots", "versions", "settings", "room", "clock", "sweeps"}
    assert {one["name"] for one in found["checks"]} == names
    words = subprocess.run([QUANTFARM, "up", "--status"], capture_output=True, text=True, check=True).stdout
    for name in PARTS:
        assert f"{name}: up, process" in words
    assert "zombies: runs whose process is gone are found" in words


def test_all_of_it_listens_on_loopback_alone(shared: Farm) -> None:
    addresses = set[str]()
    for process in left(shared.state["token"]):
        connections = process.net_connections("inet")
        addresses |= {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}
    assert addresses
    assert addresses <= {"127.0.0.1", "::1"}


def test_a_second_one_says_who_runs_and_starts_nothing(shared: Farm) -> None:
    done = subprocess.run([QUANTFARM, "up", "--port", str(free_port())], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"process {shared.process.pid}" in done.stderr
    assert "--status" in done.stderr


def test_each_part_that_is_killed_comes_back_at_its_port(shared: Farm) -> None:
    before = {name: shared.part(name)["url"] for name in PARTS}
    for name in PARTS:
        shared.await_new(name, shared.kill(name))
        assert shared.part(name)["restarts"] >= 1
    assert shared.api.healthy()
    assert {name: shared.part(name)["url"] for name in PARTS} == before
    assert "killed by signal 9" in shared.output
    shared.await_checked()


def test_a_sweep_whose_flow_is_killed_is_gone_on_with_and_nothing_is_measured_twice(shared: Farm) -> None:
    before = len(shared.landed())
    run = shared.begin("phone", "laptop", launches=6, seed=1)
    shared.await_landed(before + 4)
    until(lambda: run in shared.state["runs"], "the run's process")
    os.kill(shared.state["runs"][run], signal.SIGKILL)
    shared.await_landed(before + 48)
    until(lambda: not unfinished(Home(shared.home)), "the sweep's end")
    assert all(name.split(".")[1] == "1" for name in shared.landed()), "a cell was measured twice"
    assert shared.run(run)["state_type"] == "CRASHED"
    assert "going on with sweep" in shared.output
    assert not landings(shared.home).problems


def test_a_flow_run_outlives_its_serving_process_and_can_still_be_cancelled(shared: Farm) -> None:
    before = len(shared.landed())
    run = shared.begin("phone", launches=50, seed=2, common={"n_gen": 17})
    shared.await_landed(before + 2)
    old = shared.kill("serving")
    shared.await_new("serving", old)
    now = len(shared.landed())
    shared.await_landed(now + 3)  # it goes on meanwhile
    assert shared.run(run)["state_type"] == "RUNNING"
    shared.api.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    until(lambda: shared.run(run)["state_type"] == "CANCELLED", "the run is cancelled")
    until(lambda: run not in shared.state["runs"], "its process is gone")
    assert not [one for one in unfinished(Home(shared.home)) if one.alive]


def servers(home: Path) -> set[int]:
    """Prefect's servers on the farm's own database."""
    found: set[int] = set()
    for one in psutil.process_iter():
        try:
            serves = re.search(r"prefect[._]server", " ".join(one.cmdline()))
            if serves and one.environ().get("PREFECT_HOME") == str(home / "prefect"):
                found.add(one.pid)
        except psutil.Error:
            continue
    return found


def test_a_sweep_from_the_shell_is_seen_in_the_farms_ui_and_starts_no_second_server(shared: Farm) -> None:
    asked = ("--devices", "laptop", "--quants", "Q8_0", "--suite", "speed", "--launches", "1", "-p", "33", "--json")
    own, seen = servers(shared.home), set[int]()
    sweep = start("sweep", *asked)
    while sweep.poll() is None:
        seen |= servers(shared.home)
    assert json.loads(sweep.communicate()[0])["ok"] == 2
    assert own and seen == own
    [run] = [one for one in shared.api.runs(["COMPLETED"]) if not one["deployment_id"]]
    assert run["name"] == "sweep reference × 1 quant × 1 device"
    which = {"logs": {"flow_run_id": {"any_": [run["id"]]}}}
    until(lambda: any("✓ laptop" in one["message"] for one in shared.api.post("/logs/filter", which)), "its log")


def test_an_automation_that_somebody_deleted_is_missed_and_made_again(shared: Farm) -> None:
    [one] = [one for one in shared.api.all("/automations/filter", {}) if one["name"] == automations.ZOMBIES]
    shared.api.ask("DELETE", f"/automations/{one['id']}")
    assert "is missing" in automations.missing(shared.api)
    assert automations.ensure(shared.api) == "made"
    assert automations.missing(shared.api) == ""
    assert automations.ensure(shared.api) == ""


@pytest.mark.parametrize("option", ["--port", "--dashboard-port"])
def test_a_port_that_is_taken_is_told_with_who_has_it_and_a_free_one(home: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = {"--port": str(free_port()), "--dashboard-port": str(free_port()), option: str(port)}
        words = [word for pair in ports.items() for word in pair]
        done = subprocess.run([QUANTFARM, "up", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr
    assert f"use {option} " in done.stderr
    assert not (home / "prefect").exists(), "something was started"


def test_killed_it_leaves_nothing_and_the_next_one_takes_over_and_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    devices(home, "phone")
    port = free_port()
    with farm(home, "--no-nightly", port=port) as first:
        first.await_up()
        first.begin("phone", launches=20)
        first.await_landed(3)
        token = first.state["token"]
        first.process.kill()
        first.process.wait()
        until(lambda: not left(token), "nothing is left")
        found = first.status(code=1)
        assert not found["running"]
        assert [one["cells"] for one in found["sweeps"]] == [80]
    done = len(landings(home).keys())
    with farm(home, "--no-nightly", "--go-on", port=port) as second:
        second.await_said("unfinished: sweep .* of 80 cells finished")
        second.await_said("going on with sweep")
        second.await_landed(done + 2)
        token = second.state["token"]
        second.process.terminate()
        assert second.process.wait(90) == 0
        assert not left(token)
    with farm(home, "--no-nightly", port=port) as third:  # stopped with the farm, not by itself: still offered
        third.await_said("to go on with them: quantfarm up --go-on")
        third.await_up()
        until(lambda: third.state["sweeps"], "told")
        assert third.state["sweeps"][0]["left"]
    assert not landings(home).problems
    assert all(name.split(".")[1] == "1" for name in first.landed())


def test_a_ray_head_comes_and_goes_with_the_farm(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with farm(home, "--no-nightly", "--ray", "--ray-port", str(free_port())) as up:
        up.await_up()
        assert up.part("ray")["url"].startswith("ray://127.0.0.1:")
        pid = up.part("ray")["pid"]
        assert json.loads(quantfarm("agent", "status", "--json"))[0]["pid"] == pid
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(90) == 0
        assert not psutil.pid_exists(pid)
        assert json.loads(quantfarm("agent", "status", "--json")) == []


def test_four_sweeps_at_once_on_sqlite_lose_no_cell_and_end_well(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    names = [f"phone-{number}" for number in range(4)]
    devices(home, *names, sleep_s=0.0)
    with farm(home, "--no-nightly") as up:
        up.await_up()
        runs = [up.begin(name, launches=10) for name in names]
        for run in runs:
            until(lambda run=run: up.run(run)["state_type"] in ("COMPLETED", "FAILED", "CRASHED"), "the sweeps' ends")
        assert {up.run(run)["state_type"] for run in runs} == {"COMPLETED"}
        assert len(up.landed()) == 160
        done = until(lambda: len(finished_tasks(up, runs)) >= 160 and finished_tasks(up, runs), "the tasks' states")
        assert {one["state_type"] for one in done} == {"COMPLETED"}
        log = (home / "up" / "server.log").read_text()
        print(f"'database is locked' in the server's log: {log.count('database is locked')} times")  # noqa: T201


def finished_tasks(up: Farm, runs: list[str]) -> list[dict[str, Any]]:
    tasks = up.api.all("/task_runs/filter", {"task_runs": {"flow_run_id": {"any_": runs}}})
    return [one for one in tasks if one["name"].startswith("bench") and one["end_time"]]
