"""A running farm to be killed: `quantfarm up` in a home of its own, requests through the API. See `kills.py`."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from flows.up.api import Api, NoAnswer
from storage.home import Home
from storage.landing import Landings

QUANTFARM = Path(sys.executable).parent / "quantfarm"
DEVICES = 4
SLEEP_S = 0.5
PARTS = ("flow", "server", "serving")
RECOVERY_S = 60.0
START_S = 300.0
#: Modules that a flow run's process is started as: under `quantfarm up`, and by Prefect itself.
ENGINES = ("flows.flow_process", "prefect.engine")
#: A run that was asked for has a process within so long.
BEGINS_S = 25.0


@dataclass(frozen=True)
class Kill:
    part: str
    recovery_s: float
    again: bool = False  # started again by a person: `up` had done so often enough


@dataclass
class Farm:
    """A home of its own, and `quantfarm up` in it."""

    folder: Path
    kills: list[Kill] = field(default_factory=list)
    requests: int = 0
    cells: int = 0
    started: int = 0  # runs
    left: int = 0  # requests that `up` had given up, and that were started again by hand
    runs: set[str] = field(default_factory=set[str])  # of the request in hand
    seen: dict[str, bytes] = field(default_factory=dict)  # landed files and what was in them

    def __post_init__(self) -> None:
        self.home = Home(self.folder / "home")
        profiles = self.home.root / "device_profiles"
        profiles.mkdir(parents=True)
        self.devices = [f"box{n}" for n in range(DEVICES)]
        body = {"kind": "fake", "simulated": True, "cores": 4, "memory_mib": 8192, "options": {"sleep_s": SLEEP_S}}
        for name in self.devices:
            (profiles / f"{name}.yaml").write_text(json.dumps(body))
        self.port, self.dashboard_port = _free_ports(2)
        self.api = Api(f"http://127.0.0.1:{self.port}/api")

    # --- the farm ---

    def start(self) -> None:
        environment = {
            **os.environ,
            "QUANTFARM_HOME": str(self.home.root),
            "QUANTFARM_LEASES": str(self.folder / "leases"),
        }
        environment.pop("PREFECT_API_URL", None)
        ports = ["--port", str(self.port), "--dashboard-port", str(self.dashboard_port)]
        with (self.folder / "up.out").open("wb") as log:
            self.up = subprocess.Popen(
                [QUANTFARM, "up", *ports, "--no-nightly"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait(lambda: self.answers("server") and self.answers("serving"), START_S, "quantfarm up")

    def stop(self) -> None:
        """As a service manager ends it; raises AssertionError for what stays behind."""
        self.up.send_signal(signal.SIGTERM)
        self.up.wait(120)
        self.wait(lambda: not self.processes(), 60, "the end of every process")

    def end(self) -> None:
        """Whatever happened."""
        for process in self.processes():
            try:
                process.kill()
            except psutil.Error:
                continue

    def processes(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("QUANTFARM_HOME") == str(self.home.root)
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def state(self, part: str) -> dict[str, Any]:
        try:
            body = json.loads((self.home.root / "up" / "state.json").read_bytes())
            return next(one for one in body["parts"] if one["name"] == part)
        except (OSError, ValueError, StopIteration):
            return {}

    def answers(self, part: str) -> bool:
        told = self.state(part)
        if told.get("state") != "up" or not told.get("pid") or not psutil.pid_exists(told["pid"]):
            return False
        return part != "server" or self.api.healthy()

    def flows(self) -> list[psutil.Process]:
        """Processes of flow runs."""
        found: list[psutil.Process] = []
        for process in self.processes():
            try:
                if any(one in process.cmdline() for one in ENGINES):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def wait(self, there: Callable[[], bool], limit_s: float, what: str) -> float:
        """Seconds until it is there."""
        began = time.monotonic()
        while not there():
            assert self.up.poll() is None or "end" in what, f"quantfarm up ended: {self.said()}"
            assert time.monotonic() - began < limit_s, f"{what}: not within {limit_s:.0f} s; {self.said()}"
            time.sleep(0.1)
        return time.monotonic() - began

    def said(self) -> str:
        parts = [self.state(part) for part in ("server", "serving")]
        return f"{parts}\n{(self.folder / 'up.out').read_text(errors='replace')[-3000:]}"

    # --- requests ---

    def request(self, launches: int) -> dict[str, Any]:
        """The next request: cells that no other had."""
        self.requests += 1
        self.of_request = self.requests
        self.runs = set()
        return {
            "quants": ["Q8_0", "Q4_0"],
            "devices": self.devices if self.requests % 3 else ["local"],
            "launches": launches if self.requests % 3 else 3,
            "workloads": [{"kind": "bench", "n_prompt": 16, "n_gen": 8 + self.requests, "repetitions": 2}],
            "notes": f"request {self.requests}",
        }

    def run(self, request: dict[str, Any]) -> None:
        """As the UI starts it; asks again while the server is away."""

        def created() -> bool:
            try:
                deployment = self.api.deployments()["sweep"]["id"]
                made = self.api.post(f"/deployments/{deployment}/create_flow_run", {"parameters": request})
            except (NoAnswer, KeyError):
                return False
            self.runs.add(made["id"])
            return True

        self.wait(created, RECOVERY_S, "a run made through the API")
        self.started += 1

    def landed(self) -> Landings:
        return Landings(self.home)

    def wanted(self, request: dict[str, Any]) -> int:
        return len(request["quants"]) * len(request["devices"]) * request["launches"]

    def done(self, request: dict[str, Any]) -> int:
        """Cells of the request that have an ok attempt."""
        return sum(count > 0 for count in self.oks(request).values())

    def oks(self, request: dict[str, Any]) -> Counter[str]:
        n_gen = request["workloads"][0]["n_gen"]
        found: Counter[str] = Counter()
        for landed in self.landed().all():
            if landed.cell.workload.settings.get("n_gen") == n_gen:
                found[landed.cell.id] += landed.outcome.state == "ok"
        return found

    def unchanged(self) -> None:
        """What had landed is there as it was."""
        for path in sorted((self.home.root / "cells").glob("*.json")):
            body = path.read_bytes()
            assert self.seen.setdefault(path.name, body) == body, f"{path.name} was changed"
        gone = {name for name in self.seen if not (self.home.root / "cells" / name).exists()}
        assert not gone, f"landed cells are gone: {gone}"

    def whole(self, request: dict[str, Any]) -> None:
        """Nothing lost, nothing doubled, nothing that had finished run again."""
        found = self.oks(request)
        again = {cell: count for cell, count in found.items() if count != 1}
        assert not again, f"ok attempts other than one: {again}"
        assert len(found) == self.wanted(request), f"{len(found)} cells of {self.wanted(request)}"
        self.unchanged()
        self.cells += len(found)

    # --- kills ---

    def kill(self, part: str, request: dict[str, Any]) -> Kill | None:
        """kill -9 of one part, and how long until it is there again; None where there was nothing to kill."""
        if part == "flow":
            return self._kill_flow(request)
        pid = self.state(part).get("pid")
        if not pid or not self.answers(part):
            return None
        os.kill(pid, signal.SIGKILL)
        took = self.wait(
            lambda: self.state(part).get("pid") != pid and self.answers(part), RECOVERY_S, f"the {part} again"
        )
        return Kill(part, took)

    def busy(self, request: dict[str, Any]) -> None:
        """Until a process carries the request out, or has."""
        until = time.monotonic() + BEGINS_S
        while not self.flows() and time.monotonic() < until and self.done(request) < self.wanted(request):
            time.sleep(0.1)

    def _kill_flow(self, request: dict[str, Any]) -> Kill | None:
        self.busy(request)
        if not (victims := self.flows()):
            return None
        began, before = time.monotonic(), self.done(request)
        for victim in victims:
            try:
                victim.kill()
            except psutil.Error:
                continue
        again = False
        while self.done(request) <= before and self.done(request) < self.wanted(request):
            if not again and self.given_up(request):
                again = True
                self.run(request)
            assert time.monotonic() - began < RECOVERY_S, f"the sweep does not go on; {self.said()}"
            time.sleep(0.1)
        return Kill("flow", time.monotonic() - began, again)

    def given_up(self, request: dict[str, Any]) -> bool:
        """Whether `up` leaves the request to a person: it was cut off too often."""
        mine: set[str] = set()
        for path in (self.home.root / "sweeps").glob("*.json"):
            body = json.loads(path.read_bytes())
            if body["request"].get("notes") == request["notes"]:
                mine.add(body["sweep"])
        try:
            told = json.loads((self.home.root / "up" / "state.json").read_bytes())
        except (OSError, ValueError):
            return False
        rows = [one for one in told.get("sweeps", ()) if one["sweep"] in mine]
        begun = [one for one in told.get("begun_again", ()) if one["original"] in self.runs]
        return all(one["given_up"] for one in rows) if rows else any(one["given_up"] for one in begun)

    def go_on(self, request: dict[str, Any]) -> None:
        """Until the request is whole; started again where `up` has given it up."""
        began, asked = time.monotonic(), 0.0
        while (now := self.done(request)) < self.wanted(request):
            # What was given up is told so until a run of it has begun: asked once in so long.
            if self.given_up(request) and not self.flows() and time.monotonic() - asked > BEGINS_S:
                self.left += 1
                self.run(request)
                asked = time.monotonic()
            assert time.monotonic() - began < START_S, f"the sweep does not go on: {now} cells; {self.said()}"
            time.sleep(0.5)


def _free_ports(many: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(many)]
    ports = [one.getsockname()[1] for one in probes]
    for one in probes:
        one.close()
    return ports


def leases_free(folder: Path) -> None:
    """Nobody holds a device."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
