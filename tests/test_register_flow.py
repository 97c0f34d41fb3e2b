"""Registering from Prefect's side: a real server, a real serve process, runs made through the API."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.up import api
from quantfarm.health import DeviceState
from storage.devices import Registry
from storage.home import Home
from tests.sweeping import start

WAIT_S = 240.0


class Api:
    """Prefect's, as its UI uses it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        method = "GET" if body is None else "POST"
        return api.Api(self.url).ask(method, path, body, timeout_s=30)

    def pages_ask(self) -> str:
        """Where the UI's pages look for the API."""
        with urllib.request.urlopen(self.url.replace("/api", "/ui-settings"), timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read())["api_url"]

    def lets_in(self, origin: str) -> str | None:
        """Whether a page from there may ask the API, as the API tells a browser."""
        request = urllib.request.Request(f"{self.url}/health", headers={"Origin": origin})  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.headers.get("Access-Control-Allow-Origin")

    def deployment(self, name: str, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Once it is served."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end and process.poll() is None:
            try:
                return self.ask(f"/deployments/name/{name}")
            except api.NoAnswer:
                time.sleep(0.5)
        raise AssertionError(f"{name} was not served: {process.poll()}")

    def run(self, deployment: dict[str, Any], **parameters: Any) -> dict[str, Any]:
        """A run of a deployment to its end; its state."""
        made = self.ask(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            state = self.ask(f"/flow_runs/{made['id']}")["state"]
            if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                return state
            time.sleep(0.5)
        raise AssertionError(f"the run did not end: {state}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Api, subprocess.Popen[str]]]:
    """`quantfarm serve` with a Prefect server of its own."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    port = free_port()
    process = start("serve", "--port", str(port), "--check-every", "60")
    try:
        yield Api(f"http://127.0.0.1:{port}/api"), process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(150)
        finally:
            process.kill()
            process.communicate()


def ours(home: Path) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("QUANTFARM_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.pid != os.getpid()]


def test_devices_are_registered_and_checked_from_prefects_side(
    home: Path, served: tuple[Api, subprocess.Popen[str]]
) -> None:
    api, process = served
    register = api.deployment("register-device/register-device", process)
    properties = register["parameter_openapi_schema"]["properties"]
    assert {"name", "url", "tags", "host_key", "environment", "idle_s"} <= set(properties)
    assert api.pages_ask() == api.url, "the pages of a server on another port must ask that port"
    assert api.lets_in("http://evil.example") is None
    assert api.lets_in(api.url.removesuffix("/api")) == api.url.removesuffix("/api")

    state = api.run(register, name="bench", url="fake", tags=["lab"], options={"bandwidth_gib_s": 5})
    assert (state["type"], "ready for: llama_cpp" in state["message"]) == ("COMPLETED", True), state
    assert "bandwidth_gib_s: 5" in (home / "device_profiles" / "bench.yaml").read_text()
    assert Registry(Home(home)).state("bench") is DeviceState.READY

    state = api.run(register, name="other", url="sssh://host")
    assert state["type"] == "FAILED"
    assert "unknown way to a device 'sssh': did you mean ssh?" in state["message"]
    assert not (home / "device_profiles" / "other.yaml").exists()

    check = api.deployment("check-devices/check-devices", process)
    assert check["schedules"][0]["schedule"]["interval"] == 3600.0
    state = api.run(check)
    assert (state["type"], "bench is ready" in state["message"]) == ("COMPLETED", True), state
    assert len(Registry(Home(home)).canaries("bench")) == 2
    assert api.deployment("sweep/sweep", process)["entrypoint"] == "flows.sweep.sweep"

    process.send_signal(signal.SIGINT)
    assert process.wait(150) in (0, 130)
    left = psutil.wait_procs(ours(home), timeout=30)[1]
    assert not left, [" ".join(one.cmdline()) for one in left]


def test_a_port_that_is_taken_is_said_with_the_way_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start("serve", "--port", str(port))
        _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert f"PREFECT_API_URL=http://127.0.0.1:{port}/api" in " ".join(err.split())
