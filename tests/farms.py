"""`quantfarm up` as a user starts it, in a home of its own; ended with all it started, whatever becomes of the test."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from flows import reaper
from flows.up.api import Api
from tests.sweeping import QUANTFARM

#: The machine may be slow and busy; nothing is measured here.
START_S = 240
#: Simulated devices: a cell takes this long.
CELL_S = 0.5
DEVICE = "kind: fake\nsimulated: true\nchip: simulated\ncores: 4\nmemory_mib: 8192\noptions: {{sleep_s: {sleep_s}}}\n"
NIGHTS = (
    "schedule: {{cron: '{cron}', timezone: UTC}}\nwatches: [{{model: reference, devices: [local], quants: [Q8_0]}}]\n"
)
#: Four cells for each launch: two quantizations, two workloads.
SWEEP = {"model": "reference", "quants": ["Q8_0", "Q4_0"], "suite": "speed"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(look: Callable[[], Any], what: str, within_s: float = START_S) -> Any:
    """The first thing seen that is true. What fails meanwhile is looked at again."""
    end, last = time.monotonic() + within_s, ""
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except Exception as error:
            last = f" ({error!r})"
        time.sleep(0.2)
    raise AssertionError(f"not within {within_s:g} s: {what}{last}")


def devices(home: Path, *names: str, sleep_s: float = CELL_S) -> None:
    folder = home / "device_profiles"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.yaml").write_text(DEVICE.format(sleep_s=sleep_s))


@dataclass
class Farm:
    home: Path
    port: int
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    @property
    def api(self) -> Api:
        return Api(f"http://127.0.0.1:{self.port}/api")

    @property
    def output(self) -> str:
        return "".join(self.said)

    @property
    def state(self) -> dict[str, Any]:
        return json.loads((self.home / "up" / "state.json").read_text())

    def part(self, name: str) -> dict[str, Any]:
        return next(one for one in self.state["parts"] if one["name"] == name)

    def status(self, code: int | None = None) -> dict[str, Any]:
        done = subprocess.run([QUANTFARM, "up", "--status", "--json"], capture_output=True, text=True, check=False)
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    def await_up(self) -> None:
        until(lambda: self.process.poll() is None and self.state["pid"] == self.process.pid and self.state["up"], "up")

    def await_said(self, pattern: str, within_s: float = START_S) -> None:
        until(lambda: re.search(pattern, self.output), f"'{pattern}' in: {self.output}", within_s)

    def await_checked(self) -> None:
        """Until every self-check is good."""
        until(lambda: (rows := self.state["checks"]) and all(one["ok"] for one in rows), f"checks of {self.home}")

    def kill(self, name: str) -> int:
        pid = self.part(name)["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def await_new(self, name: str, old: int) -> None:
        until(lambda: (one := self.part(name))["state"] == "up" and one["pid"] not in (None, old), f"a new {name}")

    def begin(self, *devices: str, launches: int = 4, **parameters: Any) -> str:
        """A sweep as the UI begins it; the flow run's id."""
        asked = {**SWEEP, "devices": list(devices), "launches": launches, **parameters}
        body = {"parameters": asked, "state": {"type": "SCHEDULED"}}
        return until(
            lambda: self.api.post(f"/deployments/{self.deployment('sweep')}/create_flow_run", body)["id"], "run"
        )

    def deployment(self, name: str) -> str:
        return self.api.deployments()[name]["id"]

    def run(self, run_id: str) -> dict[str, Any]:
        return self.api.get(f"/flow_runs/{run_id}")

    def landed(self) -> list[str]:
        return sorted(path.name for path in (self.home / "cells").glob("*.json"))

    def await_landed(self, many: int) -> None:
        until(lambda: len(self.landed()) >= many, f"{many} landed cells")


def left(token: str) -> list[psutil.Process]:
    """Processes that carry the mark of a `quantfarm up`."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(reaper.MARK) == token and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def watch_list(home: Path) -> None:
    """Nights that begin in twelve hours: not while the test runs."""
    later = datetime.now(UTC) + timedelta(hours=12)
    if not (file := home / "nightly.yaml").exists():
        home.mkdir(parents=True, exist_ok=True)
        file.write_text(NIGHTS.format(cron=f"{later.minute} {later.hour} * * *"))


@contextmanager
def farm(home: Path, *options: str, port: int = 0, **environment: str) -> Iterator[Farm]:
    port = port or free_port()
    ports = ["--port", str(port), "--dashboard-port", str(free_port())]
    watch_list(home)
    process = subprocess.Popen(
        [QUANTFARM, "up", *ports, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"} | environment,
    )
    made = Farm(home, port, process)
    assert process.stdout
    reader = threading.Thread(target=made.said.extend, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        yield made
    except BaseException:
        print(made.output, *(f"{log}:\n{log.read_text()[-3000:]}" for log in (home / "up").glob("*.log")))  # noqa: T201
        raise
    finally:
        token = ""
        with contextlib.suppress(OSError, ValueError):
            token = str(made.state["token"])
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if token:
            reaper.reap(token)
        reader.join(10)
        process.stdout.close()
