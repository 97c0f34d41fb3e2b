"""The farm as Prefect's UI has it: a real serving process, and the API that the UI asks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil

from flows.up import api as up_api
from flows.up.api import BUSY, PAUSES_S

WAIT_S = 240.0
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
T = TypeVar("T")

SERVE = """
import os, threading
from storage.home import Home
from flows import settings
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
settings.prepare(Home.default())
from prefect import serve
from flows.deployments import deployments, follow
made = deployments(Home.default())
end = threading.Event()
threading.Thread(target=follow, args=(Home.default(), made, end.wait), daemon=True).start()
serve(*made, print_starting_message=False)
"""


def until(found: Callable[[], T | None], what: str, within_s: float = WAIT_S) -> T:
    """The first answer that says something; an error that the server gives meanwhile is none."""
    end, answer = time.monotonic() + within_s, None
    while time.monotonic() < end:
        try:
            if answer := found():
                return answer
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{what} did not come within {within_s:g} s: {answer}")


class Refused(OSError):
    """The server's own no: its HTTP code, and what it says."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(code, said)
        self.code = code


class Api:
    """Prefect's, as its UI uses it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Asked again while the server's SQLite is in use, as Prefect's clients do."""
        for pause in PAUSES_S:
            try:
                return self._ask(path, body)
            except Refused as error:
                if error.code != BUSY:
                    raise
                time.sleep(pause)
        return self._ask(path, body)

    def _ask(self, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, error.read().decode()) from None

    def deployment(self, name: str) -> dict[str, Any]:
        return self.ask(f"/deployments/name/{name}/{name}")

    def form(self, name: str = "sweep") -> dict[str, Any]:
        return self.deployment(name)["parameter_openapi_schema"]["properties"]

    def start(self, name: str, /, **parameters: Any) -> str:
        """A run's id."""
        made = self.ask(f"/deployments/{self.deployment(name)['id']}/create_flow_run", {"parameters": parameters})
        return made["id"]

    def run(self, run: str) -> dict[str, Any]:
        return self.ask(f"/flow_runs/{run}")

    def ended(self, run: str, within_s: float = WAIT_S) -> dict[str, Any]:
        """The run once it is over."""

        def over() -> dict[str, Any] | None:
            found = self.run(run)
            return found if found["state"]["type"] in ENDED else None

        return until(over, f"the end of {run}", within_s)

    def cancel(self, run: str) -> None:
        """As the button in the UI does."""
        state = {"type": "CANCELLING", "name": "Cancelling"}
        self.ask(f"/flow_runs/{run}/set_state", {"state": state})

    def artifacts(self, run: str) -> dict[str, dict[str, Any]]:
        """By key."""
        which = {"flow_runs": {"id": {"any_": [run]}}, "limit": 200}
        return {one["key"]: one for one in self.ask("/artifacts/filter", which)}

    def logs(self, run: str) -> list[str]:
        which = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return [one["message"] for one in self.ask("/logs/filter", which)]


@contextmanager
def serving(home: Path, log: Path) -> Iterator[Api]:
    """Serves the home's deployments to the server that PREFECT_API_URL names; ends with all that it started."""
    api = Api(os.environ["PREFECT_API_URL"])
    _forget(api)
    with log.open("wb") as file:
        command = [sys.executable, "-c", SERVE]
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        _served(api, process, log)
        yield api
    finally:
        below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for left in below:
            if left.is_running():
                left.kill()


def _forget(api: Api) -> None:
    """Deployments that an earlier test left on the server would pass for the new process's own."""
    server = up_api.Api(api.url)
    for one in server.deployments().values():
        with suppress(up_api.Refused):  # a busy server may answer 503, and have done it
            server.ask("DELETE", f"/deployments/{one['id']}")


def _served(api: Api, process: subprocess.Popen[bytes], log: Path) -> None:
    def applied() -> bool:
        assert process.poll() is None, log.read_text()
        return api.deployment("rebuild-database")["status"] == "READY"

    until(applied, "the serving process")
