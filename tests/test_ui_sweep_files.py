"""The files of a sweep: which are unfinished, which are alive, and what half a file counts for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantfarm.errors import UsageError
from quantfarm.nouns import Plan
from storage import sweeps
from storage.home import Home

HOLD = """
import sys
from pathlib import Path
from storage import sweeps
from storage.home import Home
with sweeps.running(Home(Path(sys.argv[1])), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def farm(home: Path) -> Home:
    return Home(home)


def begun(farm: Home, name: str, **request: object) -> str:
    sweeps.record(farm, name, "tiny", {"model": "tiny", **request}, Plan(cells=(), skips=()))
    with sweeps.running(farm, name):
        pass
    return name


@contextmanager
def carried_out_elsewhere(farm: Home, name: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(farm.root), name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def names(farm: Home, *, ended: bool = False) -> list[str]:
    return [one.sweep for one in sweeps.unfinished(farm, ended=ended)]


def test_a_sweep_is_unfinished_until_its_end_is_written(farm: Home) -> None:
    begun(farm, "20260101-000000-1")
    assert names(farm) == ["20260101-000000-1"]
    sweeps.finish(farm, "20260101-000000-1", "done", {"ok": 3})
    assert names(farm, ended=True) == []


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_one_that_was_stopped_or_failed_is_offered_only_to_who_asks(farm: Home, state: str) -> None:
    name = begun(farm, "20260101-000000-1")
    sweeps.finish(farm, name, state)
    assert names(farm) == []
    assert names(farm, ended=True) == [name]
    assert sweeps.find(farm, name).state == state


def test_it_is_alive_while_a_process_carries_it_out_and_not_a_moment_longer(farm: Home) -> None:
    name = begun(farm, "20260101-000000-1")
    with carried_out_elsewhere(farm, name) as process:
        assert [one.alive for one in sweeps.unfinished(farm)] == [True]
        with pytest.raises(sweeps.Busy, match="carried out by another process already"), sweeps.running(farm, name):
            pass
        process.kill()
        process.wait()
        assert [one.alive for one in sweeps.unfinished(farm)] == [False]


def test_it_knows_how_often_it_was_gone_on_with(farm: Home) -> None:
    name = begun(farm, "20260101-000000-1")
    assert sweeps.find(farm, name).went_on == 0
    with sweeps.running(farm, name):
        pass
    assert sweeps.find(farm, name).went_on == 1


def test_going_on_makes_it_unfinished_again(farm: Home) -> None:
    name = begun(farm, "20260101-000000-1")
    sweeps.finish(farm, name, "stopped")
    with sweeps.running(farm, name):
        assert names(farm) == [name]


HALVES = {
    "empty": b"",
    "torn": b'{"schema": 2, "sweep": "20260101-0',
    "no object": b"[1, 2]",
    "other": b'{"schema": 2, "sweep": "another", "model": "tiny", "request": {}, "cells": [], "skips": []}',
    "no text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "newer": json.dumps({"schema": 99, "sweep": "20260101-000000-2"}).encode(),
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES.keys())
def test_half_a_record_is_passed_over(farm: Home, half: bytes) -> None:
    begun(farm, "20260101-000000-1")
    (farm.sweeps / "20260101-000000-2.json").write_bytes(half)
    assert names(farm, ended=True) == ["20260101-000000-1"]
    assert sweeps.skips(farm) == []
    with pytest.raises(UsageError, match="unknown sweep"):
        sweeps.find(farm, "20260101-000000-2")


def test_half_an_end_is_none(farm: Home) -> None:
    name = begun(farm, "20260101-000000-1")
    (farm.sweeps / f"{name}.end").write_bytes(b'{"state": "do')
    assert names(farm) == [name]


def test_a_look_makes_no_home(farm: Home) -> None:
    assert sweeps.unfinished(farm) == []
    assert not farm.root.exists()


def test_one_that_is_done_or_unknown_cannot_be_gone_on_with(farm: Home) -> None:
    name = begun(farm, "20260101-000000-1")
    sweeps.finish(farm, name, "done")
    with pytest.raises(UsageError, match="is done"):
        sweeps.find(farm, name)
    with pytest.raises(UsageError, match="unknown sweep"):
        sweeps.find(farm, "../../etc/passwd")
