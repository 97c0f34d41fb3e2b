"""What a farm does when the world around it misbehaves: the database in use, the disk full, the clock set back,
files that somebody is still writing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.alerting import tell
from quantfarm import sweeps
from quantfarm.errors import UsageError
from quantfarm.nightly import watchlist
from quantfarm.nouns import State
from storage import journal, nights
from storage.alerts import Alerts
from storage.home import Home
from storage.ingest import lock_path, working_path
from storage.lock import is_locked
from tests.alerting import regression, report
from tests.sweeping import counts, landings, quantfarm, start
from tests.test_nightly_flow import device, watch
from tests.test_storage_files import full_disk

__all__ = ["full_disk"]

ROOT = Path(__file__).resolve().parent.parent
#: Two cells of a simulated device.
SMALL = ("--devices", "fake-laptop", "--quants", "Q8_0", "--suite", "speed", "--launches", "1")
#: The least that a file takes on the small disks.
PAGE = 4096
LOCK = """
import sys, time
from pathlib import Path
from storage.lock import locked
with locked(Path(sys.argv[1]), wait_s=0):
    print("held", flush=True)
    time.sleep(600)
"""
OPEN = """
import sys, time
import duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(600)
"""


@contextmanager
def another_process(program: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process has the lock, or the database, until this ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout and other.stdout.readline() == b"held\n"
        try:
            yield other
        finally:
            other.kill()


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`quantfarm ARGUMENTS`, ended whatever happens."""
    with start(*arguments, **environment) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it printed as JSON when it had ended well."""
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    return json.loads(out)


def _await(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 200
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


# --- the database in use by another process ---


@pytest.fixture
def measured(home: Path, prefect_server: str) -> Path:
    """A farm that has a database."""
    assert counts(*SMALL)["ok"] == 2
    return home


def test_a_sweep_whose_database_is_locked_says_by_whom_waits_and_goes_on(measured: Path) -> None:
    path = lock_path(Home(measured))
    with ExitStack() as stack:
        with another_process(LOCK, path) as other:
            sweep = stack.enter_context(started("sweep", *SMALL, "--fresh"))
            assert sweep.stdout
            said = ""
            for line in sweep.stdout:
                said += line
                if "waiting for it" in line:
                    break
            assert f"the database is in use by process {other.pid}" in " ".join(said.split()), said
            assert sweep.poll() is None
            assert {landed.attempt for landed in landings(measured).all()} == {1, 2}  # what it measured is safe
        out, err = sweep.communicate(timeout=200)
        assert sweep.returncode == 0, out + err
    assert not is_locked(path)
    assert json.loads(quantfarm("db", "verify", "--json")) == []


def test_a_sweep_goes_on_when_whoever_opened_the_database_file_closes_it(measured: Path) -> None:
    """Somebody looks with a tool of his own, which knows nothing of our lock."""
    with started("sweep", *SMALL, "--fresh", "--json") as sweep:
        with another_process(OPEN, working_path(Home(measured))):
            _await(lambda: len(landings(measured).keys()) == 4)
            with pytest.raises(subprocess.TimeoutExpired):  # all is measured: it waits for the database
                sweep.wait(3)
        assert finished(sweep)["ok"] == 2
    assert json.loads(quantfarm("db", "verify", "--json")) == []


def test_readers_do_not_notice_a_database_that_is_in_use(measured: Path) -> None:
    before = quantfarm("results", "--json")
    with another_process(OPEN, working_path(Home(measured))), another_process(LOCK, lock_path(Home(measured))):
        assert quantfarm("results", "--json") == before


# --- the disk full ---


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that can be filled, and made larger."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        if os.environ.get("CI"):
            pytest.fail("this test needs a machine where a file system can be mounted")
        pytest.skip("needs a machine where a file system can be mounted")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Takes all room but `leave` bytes."""
    ballast = folder / "ballast"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - leave))
    return ballast


def test_a_report_that_does_not_fit_leaves_the_old_one_and_says_so(
    measured: Path, small_disk: Path, tmp_path: Path
) -> None:
    out = small_disk / "report"
    quantfarm("report", "--out", str(out))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert out / "BENCHMARK.md" in before
    fill(small_disk)
    err = quantfarm("report", "--out", str(out), code=2)
    assert "no room to write in" in err and "Make room" in err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_sweep_goes_on_after_room_was_made_and_measures_nothing_twice(
    home: Path, prefect_server: str, small_disk: Path
) -> None:
    sweep = ("sweep", "--devices", "fake-laptop", "--quants", "F16", "--launches", "40", "--json")
    here = {"QUANTFARM_HOME": str(small_disk / "home")}
    (small_disk / "home").mkdir()
    ballast = fill(small_disk, leave=300_000)
    err = quantfarm(*sweep, code=2, **here)
    assert "no room to write in" in err and "Make room" in err
    kept = {(landed.cell.id, landed.attempt) for landed in landings(small_disk / "home").all()}
    ballast.unlink()
    done = json.loads(quantfarm(*sweep, **here))
    assert (done["known"], done["failed"]) == (len(kept), 0)
    found = list(landings(small_disk / "home").all())
    assert {landed.attempt for landed in found} == {1} and len(found) == done["known"] + done["ok"]
    assert json.loads(quantfarm("db", "verify", "--json", **here)) == []


def test_a_night_whose_report_does_not_fit_says_so_and_the_next_try_judges_what_was_measured(
    home: Path, prefect_server: str, full_disk: Path
) -> None:
    """The folder of nights is on a disk of its own, which is full."""
    device(home)
    watch(home)
    (home / "nights").symlink_to(full_disk)
    night = ("nightly", "run", "--night", "2026-11-20")
    for leave in (0, PAGE):  # not even the lock says who has it; the lock alone
        ballast = fill(full_disk, leave)
        err = quantfarm(*night, code=2)
        assert f"no room to write in {home / 'nights'}" in unwrapped(err) and "Make room" in err
        assert files(full_disk) <= {"ballast", "nightly.lock"}
        ballast.unlink()
    measured = landings(home).keys()
    quantfarm(*night)
    assert landings(home).keys() == measured, "it was measured again"
    assert nights.report(Home(home), "2026-11-20")


def test_alerts_whose_journal_is_full_are_not_told_say_so_and_are_told_once_with_the_next_try(
    home: Path, full_disk: Path
) -> None:
    """What cannot be written down is not sent: nobody would know that it was."""
    home.mkdir()
    (home / "alerts.yaml").write_text(json.dumps({"sinks": [{"kind": "file", "path": "told.jsonl"}], "events": False}))
    (home / "alerts").symlink_to(full_disk)
    night = report(regression())
    ballast = fill(full_disk)
    (sent,) = tell(Home(home), night)
    assert sent.line.startswith(f"alerts: failed: no room to write in {home / 'alerts'}"), sent.line
    assert "Make room" in sent.line
    assert not (home / "told.jsonl").exists()
    assert journal.read(Alerts(Home(home)).path) == []
    ballast.unlink()

    for state in ("sent", "told before"):
        (sent,) = tell(Home(home), night)
        assert (sent.sink, sent.state) == ("file", state)
    assert len(journal.read(home / "told.jsonl")) == 1


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def unwrapped(text: str) -> str:
    return " ".join(text.split())


# --- the clock set back ---

#: CLOCK_REALTIME as a file says: seconds to add. All that reads the time of day asks one of these.
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long offset(void) {
    long seconds = 0;
    FILE *file = fopen(getenv("CLOCK_OFFSET"), "r");
    if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
    return seconds;
}
int clock_gettime(clockid_t which, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(which, at);
    if (!failed && which == CLOCK_REALTIME) at->tv_sec += offset();
    return failed;
}
time_t time(time_t *out) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (out) *out = at.tv_sec;
    return at.tv_sec;
}
int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    out->tv_sec = at.tv_sec;
    out->tv_usec = at.tv_nsec / 1000;
    return 0;
}
"""
DAY_S = 86_400


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Path]:
    """A file that says by how many seconds the time of day is off, for every process started with `at(clock)`."""
    (tmp_path / "clock.c").write_text(CLOCK)
    built = ["cc", "-shared", "-fPIC", "-o", str(tmp_path / "clock.so"), str(tmp_path / "clock.c"), "-ldl"]
    subprocess.run(built, check=True)
    (tmp_path / "offset").write_text("0")
    yield tmp_path / "offset"


def at(clock: Path) -> dict[str, str]:
    return {"LD_PRELOAD": str(clock.parent / "clock.so"), "CLOCK_OFFSET": str(clock)}


def test_the_clock_of_these_tests_can_be_set_back(clock: Path) -> None:
    clock.write_text(str(-DAY_S))
    ask = [sys.executable, "-c", "import time, datetime; print(time.time(), datetime.datetime.now().timestamp())"]
    said = subprocess.run(ask, env={**os.environ, **at(clock)}, check=True, capture_output=True, text=True).stdout
    for one in said.split():
        assert abs(float(one) - (time.time() - DAY_S)) < 60


def test_a_clock_set_back_between_cells_changes_no_duration_and_no_order(
    home: Path, prefect_server: str, clock: Path
) -> None:
    slow = home / "device_profiles"
    slow.mkdir(parents=True)
    body = {"kind": "fake", "simulated": True, "cores": 4, "memory_mib": 8192, "options": {"sleep_s": 0.5}}
    (slow / "box.yaml").write_text(json.dumps(body))
    request = ("--devices", "box", "--quants", "Q8_0", "--suite", "speed", "--launches", "5")
    with started("sweep", *request, "--json", **at(clock)) as sweep:
        _await(lambda: sweep.poll() is not None or len(landings(home).keys()) >= 3)
        clock.write_text(str(-DAY_S))
        done = finished(sweep)
    assert (done["ok"], done["failed"]) == (10, 0)
    found = list(landings(home).all())
    assert all(0.5 <= landed.seconds < 60 for landed in found)
    assert len({landed.started_at[:10] for landed in found}) == 2, "the clock was set back in the middle"

    again = json.loads(quantfarm("sweep", *request, "--fresh", "--json", **at(clock)))
    assert again["ok"] == 10
    for key in {landed.cell.id for landed in found}:
        latest = landings(home).latest(key)
        assert latest and latest.attempt == 2 and latest.outcome.state is State.OK
    assert counts(*request)["known"] == 10
    assert json.loads(quantfarm("db", "verify", "--json")) == []


# --- files that somebody is still writing ---

SWEEP = """\
# a comment, with an umlaut: ü
model: reference
quants: [Q8_0, "Q4_0"]
devices: [fake-laptop]
workloads:
  - {kind: bench, n_prompt: 64, n_gen: 16}
common: {threads: 2}
notes: "half \\"written\\""
"""


def prefixes(content: bytes) -> Iterator[bytes]:
    """What a reader can see of a file that is being written."""
    yield from (content[:end] for end in range(len(content) + 1))


def test_a_half_written_sweep_file_is_refused_with_its_name_or_means_what_it_says(tmp_path: Path) -> None:
    path, refused = tmp_path / "sweep.yaml", 0
    for half in prefixes(SWEEP.encode()):
        path.write_bytes(half)
        try:
            sweeps.read(path, {})
        except UsageError as error:
            refused += 1
            assert "sweep.yaml" in str(error), half
    assert refused > len(SWEEP) / 3


def test_a_half_written_watch_list_is_refused_with_its_name_or_means_what_it_says(tmp_path: Path) -> None:
    whole = (ROOT / "sweeps" / "nightly.yaml").read_bytes()
    path, refused = tmp_path / "nightly.yaml", 0
    for half in prefixes(whole):
        path.write_bytes(half)
        try:
            watchlist.read(path)
        except UsageError as error:
            refused += 1
            assert "nightly.yaml" in str(error), half
    assert refused > 20
    path.write_bytes(whole)
    assert watchlist.read(path)


def test_a_half_written_sweep_file_starts_nothing(home: Path, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP[: SWEEP.index("fake-laptop") + 4])
    err = quantfarm("sweep", str(tmp_path / "sweep.yaml"), code=2)
    assert "sweep.yaml" in err
    assert not (home / "cells").exists()
