"""The server on PostgreSQL: the system's own, in a folder of the test, on a socket; no password in any argument."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from flows.up import servers
from quantfarm.errors import UsageError
from tests.farms import devices, farm, free_port, left, until

PASSWORD = "not-in-any-argument"  # noqa: S105 - of a database that lives for a test


def programs() -> Path | None:
    """The newest PostgreSQL of the system."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@dataclass(frozen=True)
class Postgres:
    port: int

    @property
    def url(self) -> str:
        return f"postgresql://farm@127.0.0.1:{self.port}/farm"


@contextmanager
def postgres() -> Iterator[Postgres]:
    """With passwords (SCRAM) on loopback. The program refuses to run as root: then as `postgres` or `nobody`."""
    where = programs()
    assert where
    folder, port = Path(tempfile.mkdtemp(prefix="qf-pg-", dir="/tmp")), free_port()
    root = os.geteuid() == 0
    user = next(one for one in ("postgres", "nobody") if one in {p.pw_name for p in pwd.getpwall()}) if root else None
    data, secret = folder / "data", folder / "password"
    secret.write_text(PASSWORD)
    if user:
        for path in (folder, secret):
            shutil.chown(path, user)

    def run(*arguments: str) -> None:
        command = [str(where / arguments[0]), *arguments[1:]]
        subprocess.run(command, user=user, cwd=folder, check=True, capture_output=True, env={"LC_ALL": "C"})

    run("initdb", "-D", str(data), "-U", "farm", "--auth=scram-sha-256", "--pwfile", str(secret), "-E", "UTF8")
    secret.unlink()
    with (folder / "log").open("wb") as log:
        command = [str(where / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)]
        process = subprocess.Popen(command, user=user, cwd=folder, stdout=log, stderr=log)
    environment = {**os.environ, "PGPASSWORD": PASSWORD}
    ask = [str(where / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "farm", "farm"]
    try:
        until(
            lambda: subprocess.run(ask, env=environment, capture_output=True, check=False).returncode == 0,
            "database",
            60,
        )
        yield Postgres(port)
    finally:
        process.send_signal(2)  # SIGINT: PostgreSQL's fast shutdown
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def test_an_address_with_a_password_is_refused_and_others_are_told() -> None:
    with pytest.raises(UsageError, match="password on the command line"):
        servers.postgres("postgresql://farm:secret@host/farm")
    with pytest.raises(UsageError, match="postgresql://USER@HOST/NAME"):
        servers.postgres("mysql://farm@host/farm")
    assert servers.postgres("postgresql://farm@/farm?host=/run/pg") == "postgresql+asyncpg://farm@/farm?host=/run/pg"


@pytest.mark.timeout(900)
def test_the_farm_runs_on_postgresql(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if programs() is None and not os.environ.get("CI"):
        pytest.skip("PostgreSQL is not installed")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    devices(home, "phone", sleep_s=0.1)
    with postgres() as database, farm(home, "--database", database.url, PGPASSWORD=PASSWORD) as up:
        up.await_up()
        up.await_checked()
        assert not list((home / "prefect").glob("*.db")), "it made a database of SQLite"
        run = up.begin("phone", launches=2)
        until(lambda: up.run(run)["state_type"] == "COMPLETED", "the sweep's end")
        assert len(up.landed()) == 8
        old = up.kill("server")
        up.await_new("server", old)
        assert up.run(run)["state_type"] == "COMPLETED"
        words = [word for process in left(up.state["token"]) for word in _command(process)]
        assert not [word for word in words if PASSWORD in word]
        assert PASSWORD not in (home / "up" / "state.json").read_text()
        assert not [log for log in (home / "up").glob("*.log") if PASSWORD in log.read_text()]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
