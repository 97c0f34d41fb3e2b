"""A run lands once and for good: the trace, then the cell, and never one without the other."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from quantfarm.errors import FarmError
from storage import landing, processes
from storage.home import Home
from storage.landing import AlreadyLanded, Landings, TraceWriter, land
from storage.names import cell_path, parse_stem, trace_path
from tests.storing import FAILED, LINES, cell, landed, put
from tests.test_storage_files import full_disk

__all__ = ["full_disk"]


@pytest.fixture
def farm(home: Path) -> Home:
    return Home(home)


def write(farm: Home, of: str, attempt: int, *lines: str) -> TraceWriter:
    with TraceWriter(farm, of, attempt) as trace:
        for line in lines:
            trace.write(line)
    return trace


def test_a_landed_run_is_a_trace_and_a_cell_and_nothing_else(farm: Home) -> None:
    path = put(farm, landed(cell(), figures={"bench_tg": 12.5}))
    assert path == cell_path(farm, cell().id, 1)
    assert trace_path(farm, cell().id, 1).read_text() == "".join(line + "\n" for line in LINES)
    assert sorted(f.name for f in farm.root.rglob("*") if f.is_file()) == sorted([path.name, f"{path.stem}.jsonl"])


def test_the_cell_says_what_trace_it_had(farm: Home) -> None:
    put(farm, landed(cell()))
    back = Landings(farm).latest(cell().id)
    raw = trace_path(farm, cell().id, 1).read_bytes()
    assert back is not None
    assert back.conditions["trace"] == {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw)}


def test_what_comes_back_is_what_was_landed(farm: Home) -> None:
    given = landed(cell(), figures={"bench_tg": 12.5, "bench_pp": 1 / 3}, os="Debian 12", threads=4)
    land(farm, given, None)
    assert Landings(farm).latest(cell().id) == given


def test_a_cell_that_never_ran_lands_without_a_trace(farm: Home) -> None:
    land(farm, landed(cell(), outcome=FAILED), None)
    assert not trace_path(farm, cell().id, 1).exists()
    assert Landings(farm).latest(cell().id) is not None


def test_text_that_is_no_utf_8_lands_all_the_same(farm: Home) -> None:
    odd = b"\xff\xfe garbage".decode("utf-8", "surrogateescape")
    put(farm, landed(cell(), outcome=replace(FAILED, reason=odd)), [odd])
    back = Landings(farm).latest(cell().id)
    assert back is not None
    assert back.outcome.reason == odd
    assert trace_path(farm, cell().id, 1).read_bytes() == b"\xff\xfe garbage\n"


def test_each_line_is_in_the_file_when_it_has_been_written(farm: Home) -> None:
    with TraceWriter(farm, cell().id, 1) as trace:
        trace.write("{}")
        assert trace.path.read_text() == "{}\n"
        trace.write('{"a": 1}\n')
        assert trace.path.read_text() == '{}\n{"a": 1}\n'


def test_the_same_attempt_lands_once_and_the_first_one_stays(farm: Home) -> None:
    put(farm, landed(cell(), figures={"bench_tg": 1.0}))
    with pytest.raises(AlreadyLanded):
        put(farm, landed(cell(), figures={"bench_tg": 2.0}), ["{}"])
    with pytest.raises(AlreadyLanded, match="attempt 1 of laptop · reference Q4_K_M"):
        land(farm, landed(cell()), None)
    back = Landings(farm).latest(cell().id)
    assert back is not None
    assert back.measurements[0].value == 1.0
    assert len(trace_path(farm, cell().id, 1).read_text().splitlines()) == len(LINES)


def test_a_trace_does_not_join_a_cell_that_landed_without_one(farm: Home) -> None:
    land(farm, landed(cell(), outcome=FAILED), None)
    with pytest.raises(AlreadyLanded):
        put(farm, landed(cell()))
    assert not trace_path(farm, cell().id, 1).exists()


def test_of_many_who_land_the_same_attempt_exactly_one_does(farm: Home) -> None:
    told: list[str] = []

    def one(n: int) -> None:
        mine = farm.partial_traces / f"thread-{n}"
        mine.write_text(f"{n}\n")
        try:
            land(farm, landed(cell(), figures={"bench_tg": float(n)}), mine)
            told.append("landed")
        except AlreadyLanded:
            told.append("late")

    threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    back = Landings(farm).latest(cell().id)
    assert sorted(told) == ["landed"] + ["late"] * 7
    assert back is not None
    assert float(trace_path(farm, cell().id, 1).read_text()) == back.measurements[0].value


def test_a_cell_is_finished_when_an_attempt_is_ok(farm: Home) -> None:
    landings = Landings(farm)
    assert not landings.finished(cell().id)
    put(farm, landed(cell(), 1, FAILED))
    assert not landings.finished(cell().id)
    put(farm, landed(cell(), 2))
    assert landings.finished(cell().id)
    put(farm, landed(cell(), 3, FAILED))
    assert landings.finished(cell().id)


def test_the_latest_is_the_latest_ok_attempt_else_the_latest_failed(farm: Home) -> None:
    landings = Landings(farm)

    def latest() -> int:
        found = landings.latest(cell().id)
        return found.attempt if found else 0

    assert latest() == 0
    for attempt, outcome, expected in ((1, FAILED, 1), (2, FAILED, 2), (9, None, 9), (10, FAILED, 9), (11, None, 11)):
        put(farm, landed(cell(), attempt, *([outcome] if outcome else [])))
        assert latest() == expected


def test_the_next_attempt_is_one_more_than_all_that_landed(farm: Home) -> None:
    landings = Landings(farm)
    assert landings.next_attempt(cell().id) == 1
    put(farm, landed(cell(), 1, FAILED))
    assert landings.next_attempt(cell().id) == 2
    put(farm, landed(cell(), 10))
    assert landings.next_attempt(cell().id) == 11
    assert landings.next_attempt(cell(1).id) == 1


def test_looking_makes_no_folder(farm: Home) -> None:
    assert list(Landings(farm).all()) == []
    assert not Landings(farm).finished(cell().id)
    assert not farm.root.exists()


def test_what_others_land_is_seen_at_once(farm: Home) -> None:
    landings = Landings(farm)
    for n in range(50):
        assert not landings.finished(cell(n).id)
        put(farm, landed(cell(n)))
        assert landings.finished(cell(n).id)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.write_text("{"), "not a Landed file"),
        (lambda path: path.write_text('{"schema": 99}'), "schema 99 is newer than this program knows"),
        (lambda path: path.write_text(path.read_text().replace('"attempt": 1', '"attempt": "x"')), "attempt"),
        (lambda path: path.write_text(path.read_text().replace('"launch": 0', '"launch": 7')), "disagree"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason_and_the_rest_goes_on(farm, damage, why) -> None:
    path = put(farm, landed(cell(0)))
    put(farm, landed(cell(1)))
    path.chmod(0o644)
    damage(path)
    landings = Landings(farm)
    assert [one.cell.launch for one in landings.all()] == [1]
    assert list(landings.problems) == [path.name]
    assert why in landings.problems[path.name]
    assert not landings.finished(cell(0).id)
    assert landings.next_attempt(cell(0).id) == 2


def test_names_that_are_not_of_cells_are_passed_over(farm: Home) -> None:
    for name in ("notes.txt", "readme.json", ".hidden.1.json", "a.-1.json", "a.².json"):
        (farm.cells / name).write_text("{}")
    assert Landings(farm).keys() == set()
    assert parse_stem("abc.12") == ("abc", 12)


KILLED = """
import os, signal, sys
from pathlib import Path
from storage import atomic, landing
from storage.home import Home
from tests.storing import cell, landed, put
at = sys.argv[2]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if at == "before the trace is linked":
    landing._link = die
elif at == "before the cell is there":
    atomic.write_once = die
elif at == "before the other name of the trace is gone":
    landing._land_cell, original = (lambda *a: (original(*a), die())), landing._land_cell
put(Home(Path(sys.argv[1])), landed(cell(), figures={"bench_tg": 1.0}))
"""


@pytest.mark.parametrize(
    ("moment", "landed_whole"),
    [
        ("before the trace is linked", False),
        ("before the cell is there", False),
        ("before the other name of the trace is gone", True),
    ],
)
def test_a_kill_while_landing_leaves_all_of_it_or_nothing(farm: Home, moment: str, landed_whole: bool) -> None:
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(farm.root), moment], check=False, cwd=root, capture_output=True
    )
    assert done.returncode == -9, done.stderr
    landing.sweep_up(farm)
    assert Landings(farm).finished(cell().id) is landed_whole
    assert trace_path(farm, cell().id, 1).exists() is landed_whole
    assert list(farm.partial_traces.iterdir()) == []
    if not landed_whole:
        put(farm, landed(cell()))
        assert Landings(farm).finished(cell().id)


def test_traces_that_dead_processes_were_writing_are_swept_up_when_another_begins(farm: Home) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        dead = farm.partial_traces / f"{cell(1).id}.1.{processes.mark(child.pid)}.jsonl"
        child.communicate(b"\n")
    dead.write_text("{}\n")
    mine = write(farm, cell(2).id, 1, "{}").path
    assert TraceWriter(farm, cell(3).id, 1).path.parent == mine.parent
    assert not dead.exists()
    assert mine.exists()


def test_a_second_trace_of_the_same_attempt_does_not_write_into_the_landed_one(farm: Home) -> None:
    first = write(farm, cell().id, 1, "first")
    os.link(first.path, trace_path(farm, cell().id, 1))
    write(farm, cell().id, 1, "second")
    assert trace_path(farm, cell().id, 1).read_text() == "first\n"


def test_a_trace_that_does_not_fit_on_the_disk_is_thrown_away(full_disk: Path) -> None:
    small = Home(full_disk / "home")
    with pytest.raises(FarmError, match="no room to write in"), TraceWriter(small, cell().id, 1) as trace:
        for n in range(10_000):
            trace.write(json.dumps({"event": "sample", "t": n, "values": {"rss_mib": 1.0}}))
    assert list(small.partial_traces.iterdir()) == []
    with TraceWriter(small, cell().id, 1) as trace:
        trace.write("{}")


def test_a_cell_that_does_not_fit_on_the_disk_takes_its_trace_with_it(full_disk: Path) -> None:
    small = Home(full_disk / "home")
    trace = write(small, cell().id, 1, "{}")
    with pytest.raises(FarmError, match="no room to write in"):
        land(small, landed(cell(), note="x" * 200_000), trace.path)
    assert not trace_path(small, cell().id, 1).exists()
    assert list(small.cells.iterdir()) == []
    land(small, landed(cell()), trace.path)
    assert Landings(small).finished(cell().id)
