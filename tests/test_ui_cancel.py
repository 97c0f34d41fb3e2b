"""A sweep that is cancelled in Prefect's UI while nothing is measured yet: while it waits for a device, quantizes,
downloads. It ends soon, leaves nothing behind, and the same sweep again does all of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from agents import leases
from quantfarm.toolchain import cache, conversion, environments
from storage import sweeps
from storage.artifacts import Artifacts
from storage.home import Home
from tests.conftest import ROOT
from tests.hub_server import Hub, folder_files
from tests.hub_server import serving as hub_serving
from tests.serving import Api, serving, until
from tests.test_sweep_flow import fake

#: From the cancel to the end of the last process: seconds, a generous bound.
SOON_S = 20.0
SMALL: dict[str, Any] = {"suite": "speed", "common": {"n_prompt": 16, "n_gen": 8, "threads": 1}, "launches": 1}


@pytest.fixture
def api(home: Path, tmp_path: Path, prefect_server: str) -> Iterator[Api]:
    fake(home, "bench-phone")
    with serving(home, tmp_path / "serve.log") as api:
        yield api


def ours(home: Path, word: str) -> list[psutil.Process]:
    """Processes of this home with the word in their command line."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("QUANTFARM_HOME") == str(home) and word in " ".join(process.cmdline()):
                found.append(process)
    return found


def at_work(home: Path) -> list[psutil.Process]:
    """Runs of flows, and whatever they started."""
    return [*ours(home, "prefect.engine"), *ours(home, "flows.flow_process"), *ours(home, "--request")]


def cancelled(api: Api, home: Path, run: str) -> None:
    """Cancels the run and sees it off."""
    api.cancel(run)
    began = time.monotonic()
    until(lambda: not at_work(home), "the end of its processes", SOON_S)
    ended = api.ended(run, SOON_S)
    print(f"{time.monotonic() - began:.1f} s from the cancel")  # noqa: T201
    assert ended["state"]["type"] == "CANCELLED", ended["state"]
    log = api.logs(run)
    assert log
    assert not any("Traceback" in line for line in log), "\n".join(log)
    assert not list(Home(home).partial_artifacts.iterdir()), "half an artifact"


def stopped(home: Path) -> bool:
    """Whether the one sweep is recorded as stopped by a person."""
    (found,) = sweeps.unfinished(Home(home), ended=True)
    return (found.state, found.alive) == ("stopped", False)


def finishes(api: Api, home: Path, **asked: Any) -> None:
    """The same again measures everything, and says so in words."""
    run = api.start("sweep", **asked)
    ended = api.ended(run)
    assert ended["state"]["type"] == "COMPLETED", ended["state"]
    until(lambda: any("cells on 1 device, 0 skipped" in line for line in api.logs(run)), "the plan in the log", 60)
    tasks = api.ask("/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
    assert {"publish", "lane bench-phone"} <= {task["name"] for task in tasks}
    assert not Artifacts(Home(home)).verify()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("device", ["local", "fake-bench-phone"], ids=["this machine, to quantize", "its device"])
def test_while_it_waits_for_what_another_process_holds(api: Api, home: Path, device: str) -> None:
    asked = {"quants": ["Q8_0"], "devices": ["bench-phone"], **SMALL}
    with leases.lease(device, "a colleague", lambda _: None):
        run = api.start("sweep", **asked)
        until(lambda: any("in use by a colleague" in line for line in api.logs(run)), "that it waits")
        cancelled(api, home, run)
    assert stopped(home)
    finishes(api, home, **asked)


@contextmanager
def hanging(home: Path, program: str) -> Iterator[list[int]]:
    """The first such program stands still, as one that takes for ever; it is seen off in any case."""
    held: list[int] = []
    try:
        for process in until(lambda: ours(home, program), program, 120):
            with suppress(psutil.Error):
                process.suspend()
                held.append(process.pid)
        yield held
    finally:
        for pid in held:
            with suppress(psutil.Error):
                psutil.Process(pid).kill()


@pytest.mark.timeout(600)
def test_while_it_quantizes(api: Api, home: Path) -> None:
    asked = {"quants": ["Q8_0", "Q4_0", "Q2_K"], "devices": ["bench-phone"], **SMALL}
    run = api.start("sweep", **asked)
    with hanging(home, '"kind": "quantize"') as held:
        assert held
        cancelled(api, home, run)
    assert stopped(home)
    finishes(api, home, **asked)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """One that takes minutes for the weights of org/tiny. What the converter needs is shared."""
    own = tmp_path / "cache"
    own.mkdir()
    for name in ("environments", "toolchain"):
        (own / name).symlink_to(cache.folder(name))
    monkeypatch.setenv("QUANTFARM_CACHE", str(own))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    with hub_serving(Hub(folder_files(ROOT / "reference_model" / "model"), pause_s=0.5)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def converter_is_here() -> bool:
    name = f"convert-{environments._digest(conversion.requirements())}"
    return "QUANTFARM_TEST_CONVERT" in os.environ or (cache.folder("environments") / name / "finished").exists()


@pytest.mark.timeout(900)
def test_while_it_downloads_and_while_it_converts(hub: Hub, api: Api, home: Path, tmp_path: Path) -> None:
    asked = {"model": "org/tiny", "quants": ["Q8_0"], "devices": ["bench-phone"], **SMALL}
    run = api.start("sweep", **asked)
    until(lambda: any(path.endswith("model.safetensors") for path, _ in hub.asked), "the weights' download", 120)
    cancelled(api, home, run)
    assert not sweeps.unfinished(Home(home), ended=True), "it was cancelled before it could be recorded"
    hub.pause_s = 0.0
    if not converter_is_here():
        pytest.skip("the converter's environment is not made here (set QUANTFARM_TEST_CONVERT=1)")

    run = api.start("sweep", **asked)
    with hanging(home, "convert_gguf.py") as held:
        assert held
        cancelled(api, home, run)
    assert not list((tmp_path / "cache" / "converted").glob("*.gguf"))
    finishes(api, home, **asked)
