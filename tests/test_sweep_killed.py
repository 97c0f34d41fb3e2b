"""kill -9 at any moment, and the same command again: nothing lost, nothing doubled, nothing run again."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.sweeping import counts, landings, quantfarm, start

#: Real cells, small: the runner, the sampler and the quantizer are the ones users run.
SWEEP = ("--quants", "Q8_0,Q4_0", "--suite", "speed", "--launches", "3", "-p", "16", "-n", "8", "--threads", "1")
CELLS = 12
KILLS = 50
#: After this many seconds the kills end, however many there were, so that a slow machine ends too.
BUDGET_S = 600


def strays(home: Path) -> list[psutil.Process]:
    """Processes that belong to this home."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("QUANTFARM_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def none_left(home: Path, within_s: float = 30) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not strays(home):
            return True
        time.sleep(0.1)
    return False


def kill_at(moment_s: float) -> bool:
    """Start the sweep and kill it at this moment; whether it was killed (it may have finished before)."""
    process = start("sweep", *SWEEP, "--json")
    try:
        process.wait(moment_s)
    except Exception:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def check_whole(home: Path) -> None:
    found = landings(home)
    landed = list(found.all())
    assert not found.problems
    assert Counter(one.cell.id for one in landed) == Counter({one.cell.id for one in landed}), "a cell ran twice"
    assert {one.attempt for one in landed} == {1}
    assert len(landed) == CELLS
    assert json.loads(quantfarm("db", "verify", "--json")) == []
    assert not list((home / "artifacts" / ".partial").iterdir())


def many_kills(home: Path, fresh_home: Callable[[], Path], kills: int, longest_s: float) -> None:
    """Kill sweeps until there were enough kills, each time going on in the same home until it is whole."""
    dice = random.Random(20261120)
    began, killed = time.monotonic(), 0
    while killed < kills and time.monotonic() - began < BUDGET_S:
        before = {one.cell.id for one in landings(home).all()}
        struck = kill_at(dice.uniform(0.3, longest_s))
        killed += struck
        assert {one.cell.id for one in landings(home).all()} >= before, "a finished cell was lost"
        if not struck or dice.random() < 0.1:
            done = counts(*SWEEP)
            assert done["failed"] == 0
            assert done["ok"] + done["known"] == CELLS
            check_whole(home)
            home = fresh_home()
    counts(*SWEEP)
    check_whole(home)
    assert none_left(home), "a killed sweep left processes behind"
    print(f"{killed} kills in {time.monotonic() - began:.0f} s")  # noqa: T201
    assert killed >= min(kills, 10)


@pytest.mark.timeout(1500)
def test_fifty_kills_at_random_moments_cost_nothing_that_was_finished(
    home: Path, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_kills(home, _homes(tmp_path, monkeypatch), KILLS, longest_s=8)


@pytest.mark.timeout(600)
def test_kills_while_its_own_server_starts_and_runs_leave_no_server_behind(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    many_kills(home, _homes(tmp_path, monkeypatch), kills=4, longest_s=15)


def _homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """The next empty home; the environment names it from then on."""

    def fresh() -> Path:
        folder = tmp_path / f"home-{len(list(tmp_path.glob('home-*')))}"
        folder.mkdir()
        monkeypatch.setenv("QUANTFARM_HOME", str(folder))
        return folder

    return fresh
