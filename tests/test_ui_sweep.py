"""A sweep from Prefect's UI: its name, tags, log and artifacts, what is refused, and what a cancel costs."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from storage import sweeps
from storage.home import Home
from tests.serving import Api, Refused, serving, until
from tests.sweeping import landings
from tests.test_sweep_flow import fake

SMALL = {"common": {"n_prompt": 16, "n_gen": 8, "n_chunks": 2, "threads": 1}, "launches": 1}
#: From a cancel to the last process of a device: seconds, here a generous bound.
CANCEL_S = 30.0


@pytest.fixture
def api(home: Path, tmp_path: Path, prefect_server: str) -> Iterator[Api]:
    with serving(home, tmp_path / "serve.log") as api:
        yield api


def with_device(api: Api, home: Path, name: str, **options: object) -> str:
    """A simulated one, once the form lists it."""
    fake(home, name, **options)
    until(lambda: name in api.form()["devices"]["items"]["enum"], f"{name} in the form", 60)
    return name


def rows(artifact: dict[str, Any]) -> list[dict[str, Any]]:
    return json.loads(artifact["data"])


def test_a_run_says_what_it_is_and_shows_what_it_found(api: Api, home: Path) -> None:
    with_device(api, home, "bench-phone")
    run = api.start("sweep", quants=["F16", "Q8_0"], devices=["local", "bench-phone"], **SMALL)
    ended = api.ended(run)
    assert ended["state"]["type"] == "COMPLETED", ended["state"]
    assert ended["name"] == "sweep reference × 2 quants × 2 devices"
    assert {"model:reference", "device:local", "device:bench-phone"} <= set(ended["tags"])

    until(lambda: any("Finished in state" in line for line in api.logs(run)), "the log", 60)
    log = api.logs(run)
    assert any("cells on 2 devices" in line for line in log)
    assert any(line.startswith("✓") and "bench_tg" in line for line in log)

    shown = api.artifacts(run)
    assert float(shown["sweep-progress"]["data"]) == 100
    cells = rows(shown["sweep-cells"])
    assert {row["device"] for row in cells} == {"local", "bench-phone"}
    assert {row["state"] for row in cells} == {"ok"}
    assert "| local | Q8_0 |" in shown["sweep-plan"]["data"]
    assert "Simulated" in shown["recommendation-bench-phone-reference"]["data"]
    assert "Simulated" not in shown["recommendation-local-reference"]["data"]
    picture = shown["pareto-local-reference"]["data"].removeprefix("data:image/svg+xml;base64,")
    assert b"</svg>" in base64.b64decode(picture)
    assert "quantfarm sweep --model reference --quants F16,Q8_0" in shown["sweep-again"]["data"]


REFUSED: dict[str, dict[str, Any]] = {
    "/nowhere/model": {"model": "/nowhere/model"},
    "did you mean common.n_gen": {"common": {"n_gem": 8}},
    "unknown workload kind 'benhc'": {"workloads": [{"kind": "benhc"}]},
    "cannot read the text /nowhere/text.txt": {"text": "/nowhere/text.txt"},
    "unknown sweep '20200101-000000-1-abcd'": {"resume": "20200101-000000-1-abcd"},
    "unknown device 'bench-phone'": {"devices": ["bench-phone"]},
}


def test_what_the_form_lets_through_is_refused_before_anything_runs(api: Api, home: Path) -> None:
    with_device(api, home, "bench-phone")
    (home / "device_profiles" / "bench-phone.yaml").unlink()  # gone since the form was opened
    runs = {reason: api.start("sweep", **asked) for reason, asked in REFUSED.items()}
    for reason, run in runs.items():
        ended = api.ended(run)
        assert ended["state"]["type"] == "FAILED"
        assert reason in ended["state"]["message"]
        assert not any("Traceback" in line for line in api.logs(run))
    assert not list(landings(home).all())
    assert not sweeps.unfinished(Home(home), ended=True)


def test_what_cannot_be_is_not_even_let_through(api: Api) -> None:
    for wrong in ({"launches": 0}, {"priority": 11}, {"suite": "fast"}, {"quants": ["Q4"]}):
        with pytest.raises(Refused) as refused:
            api.start("sweep", **wrong)
        assert refused.value.code == 409


def runners(home: Path) -> list[psutil.Process]:
    """Processes that measure for this home."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("QUANTFARM_HOME") == str(home) and "--request" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def measuring(home: Path) -> bool:
    """Whether the long one is at work."""
    return any('"n_gen": 512' in word for process in runners(home) for word in process.cmdline())


@pytest.mark.parametrize("devices", [["local"], ["local", "slow-phone"]], ids=["one lane", "two lanes"])
def test_a_cancel_stops_the_devices_within_seconds_and_keeps_what_was_finished(
    api: Api, home: Path, devices: list[str]
) -> None:
    with_device(api, home, "slow-phone", sleep_s=3600)
    workloads = [{"kind": "app", "n_gen": 8, "repetitions": 1}, {"kind": "bench", "n_gen": 512, "repetitions": 1000}]
    run = api.start("sweep", quants=["F16"], devices=devices, workloads=workloads, launches=1, common={"threads": 1})
    until(lambda: measuring(home), "a long measurement")
    time.sleep(2)
    finished = {landed.cell.id for landed in landings(home).all()}

    api.cancel(run)
    began = time.monotonic()
    until(lambda: not runners(home), "the end of the devices' processes", CANCEL_S)
    print(f"{len(devices)} lanes: {time.monotonic() - began:.1f} s from the cancel")  # noqa: T201
    assert api.ended(run)["state"]["type"] == "CANCELLED"
    assert {landed.cell.id for landed in landings(home).all()} >= finished
    (stopped,) = sweeps.unfinished(Home(home), ended=True)
    assert (stopped.state, stopped.alive) == ("stopped", False)
