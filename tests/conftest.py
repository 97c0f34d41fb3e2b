"""Fixtures shared by all tests: a home of its own for each, the reference model, the test data."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.settings import OFFLINE

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("QUANTFARM_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """What code under test sets for its own process (Prefect's settings) is not the next test's."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty QUANTFARM_HOME, with device leases of its own too."""
    folder = tmp_path / "home"
    monkeypatch.setenv("QUANTFARM_HOME", str(folder))
    monkeypatch.setenv("QUANTFARM_LEASES", str(tmp_path / "leases"))
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """The reference model's F16 GGUF."""
    return ROOT / "reference_model" / "reference-F16.gguf"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real test data that lies beside the project; a test that needs it skips without it."""
    if not DATA.is_dir():
        pytest.skip(f"no test data at {DATA} (set QUANTFARM_TEST_DATA)")
    return DATA


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One real Prefect server for all tests that would only wait for their own to start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("prefect")
    environment = {**os.environ, **OFFLINE, "PREFECT_HOME": str(folder)}
    command = [
        str(Path(sys.executable).parent / "prefect"),
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*command, "--no-ui"], env=environment, stdout=log, stderr=log)
    try:
        _await(f"http://127.0.0.1:{port}/api/health", server, folder / "log")
        yield f"http://127.0.0.1:{port}/api"
    finally:
        server.terminate()
        server.wait(30)


def _await(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the Prefect server did not start: {log.read_text()}")


@pytest.fixture
def prefect_server(_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of the tests' Prefect server, which what this test starts uses instead of starting its own.

    Prefect reads its environment when it is imported: where an earlier test imported it, it is told again.
    """
    monkeypatch.setenv("PREFECT_API_URL", _server)
    if "prefect" not in sys.modules:
        yield _server
        return
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: _server}):
        yield _server
