"""A device's record: rows that stay, whole or not at all, and the same in the database."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest

from quantfarm.health import By, Canary, DeviceState, NotAllowed
from quantfarm.nouns import digest
from storage import journal
from storage.atomic import NoRoom
from storage.database import open_writer
from storage.devices import TRANSITIONS, Registry
from storage.home import Home
from storage.ingest import ingest, rebuild, working_path
from storage.journal import Damaged
from storage.reading import Reader
from storage.verify import verify

S = DeviceState


@pytest.fixture
def registry(home: Path) -> Registry:
    return Registry(Home(home))


def canary(device: str = "pi", clean: bool = True, **figures: float) -> Canary:
    return Canary(
        device=device,
        at="2025-03-01T12:00:00.000+00:00",
        series="a",
        runtime="llama_cpp",
        build="b 1",
        clean=clean,
        why="" if clean else "slow",
        figures=figures or {"bench_pp": 100.0, "bench_tg": 20.0, "ppl": 3.5},
        conditions={"os": "Debian", "load_1min": 0.5},
    )


def make_ready(registry: Registry, name: str = "pi") -> None:
    registry.move(name, S.REGISTERED, "device add", By.PERSON)
    registry.move(name, S.CHECKING, "its first check", By.FARM)
    registry.add(canary(name))
    registry.move(name, S.READY, "a clean canary", By.FARM)


def test_the_state_is_that_of_the_last_row_and_every_row_stays(registry: Registry) -> None:
    assert registry.state("pi") is None
    make_ready(registry)
    assert registry.state("pi") is S.READY
    assert [(row.before, row.to, row.by) for row in registry.history("pi")] == [
        (None, S.REGISTERED, By.PERSON),
        (S.REGISTERED, S.CHECKING, By.FARM),
        (S.CHECKING, S.READY, By.FARM),
    ]
    assert registry.canaries("pi") == [Canary(**{**_fields(canary()), "spell": 2})]
    assert registry.names() == ["pi"]


def _fields(of: Canary) -> dict[str, object]:
    return {name: getattr(of, name) for name in Canary.__slots__}


def test_a_look_at_an_unknown_device_makes_nothing(registry: Registry) -> None:
    assert registry.state("pi") is None and registry.history("pi") == [] and registry.canaries("pi") == []
    assert registry.failed("pi", "not reached") is None
    with registry.busy("pi", "a sweep"):
        pass
    assert not registry.home.root.exists()


def test_a_change_that_may_not_be_leaves_no_row(registry: Registry) -> None:
    registry.move("pi", S.REGISTERED, "device add", By.PERSON)
    with pytest.raises(NotAllowed, match="pi cannot become busy: it is registered"):
        registry.move("pi", S.BUSY, "a sweep", By.FARM)
    registry.move("pi", S.CHECKING, "its first check", By.FARM)
    with pytest.raises(NotAllowed, match="0 of 1 clean canaries"):
        registry.move("pi", S.READY, "looks good", By.FARM)
    assert len(registry.history("pi")) == 2


def test_while_it_works_it_is_busy_and_then_ready_again(registry: Registry) -> None:
    make_ready(registry)
    with registry.busy("pi", "sweep 1 of reference"):
        assert registry.state("pi") is S.BUSY
    assert registry.state("pi") is S.READY
    assert registry.history("pi")[-1].reason == "end of sweep 1 of reference"


def test_what_was_found_out_while_it_worked_stays(registry: Registry) -> None:
    make_ready(registry)
    with registry.busy("pi", "sweep 1"):
        registry.failed("pi", "vanished")
    assert registry.state("pi") is S.UNHEALTHY
    with pytest.raises(NotAllowed), registry.busy("pi", "sweep 2"):
        raise AssertionError("an unhealthy device was given work")


def test_work_that_was_killed_does_not_keep_a_device_busy_for_ever(registry: Registry) -> None:
    make_ready(registry)
    registry.move("pi", S.BUSY, "a sweep that is then killed", By.FARM)
    with registry.busy("pi", "the next"):  # with the lease in hand nobody else can be at work
        pass
    assert registry.state("pi") is S.READY


def test_failures_do_not_touch_what_a_person_quarantined_or_retired(registry: Registry) -> None:
    make_ready(registry)
    registry.move("pi", S.QUARANTINED, "its fan is broken", By.PERSON)
    assert registry.failed("pi", "not reached") is None and registry.drifted("pi", "slow") is None
    assert registry.history("pi")[-1].reason == "its fan is broken"
    registry.move("pi", S.RETIRED, "sold", By.PERSON)
    assert registry.failed("pi", "not reached") is None
    assert registry.state("pi") is S.RETIRED


def test_the_third_failure_in_a_row_is_quarantine(registry: Registry) -> None:
    make_ready(registry)
    for wanted in (S.UNHEALTHY, S.UNHEALTHY, S.QUARANTINED, S.QUARANTINED):
        registry.move("pi", S.CHECKING, "check", By.FARM)
        row = registry.failed("pi", "no route to it")
        assert row and row.to is wanted


def test_a_device_registered_again_is_counted(registry: Registry) -> None:
    make_ready(registry)
    registry.move("pi", S.RETIRED, "registered again", By.PERSON)
    assert registry.registrations("pi") == 1
    make_ready(registry)
    assert registry.registrations("pi") == 2


def test_a_row_cut_off_at_any_byte_is_passed_over_and_taken_away_by_the_next(registry: Registry) -> None:
    make_ready(registry)
    path = registry.home.root / "devices" / "pi" / TRANSITIONS
    whole = path.read_bytes()
    before = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(before, len(whole)):
        path.write_bytes(whole[:cut])
        assert registry.state("pi") is S.CHECKING, cut
        assert len(registry.history("pi")) == 2
        registry.move("pi", S.CHECKING, "checked again", By.FARM)
        assert [row.reason for row in registry.history("pi")] == ["device add", "its first check", "checked again"]
        assert path.read_bytes().endswith(b"}\n")


def test_a_first_row_that_was_torn_is_none(registry: Registry) -> None:
    folder = registry.home.folder("devices", "pi")
    (folder / TRANSITIONS).write_bytes(b'{"schema": 1, "dev' + b"\0" * 100_000)
    assert registry.state("pi") is None
    make_ready(registry)
    assert registry.state("pi") is S.READY


@pytest.mark.parametrize(
    "line", [b"\0\0\0", b"[]", b"{}", b'{"schema": 99}', b'{"schema": 1}', b'{"schema": 1, "to": "well"}', b"\xff"]
)
def test_a_damaged_row_is_said_with_its_file_and_nothing_is_guessed(registry: Registry, line: bytes) -> None:
    make_ready(registry)
    path = registry.home.root / "devices" / "pi" / TRANSITIONS
    path.write_bytes(path.read_bytes() + line + b"\n")
    for look in (registry.state, registry.history, lambda name: registry.failed(name, "so")):
        with pytest.raises(Damaged, match=TRANSITIONS):
            look("pi")


def test_a_full_disk_leaves_no_half_row(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can mount a file system small enough to fill")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        path, rows = small / "rows.jsonl", 0
        with pytest.raises(NoRoom, match="no room to write in"):
            while True:
                journal.append(path, {"n": rows, "text": "x" * 3000})
                rows += 1
        assert [row["n"] for row in journal.read(path)] == list(range(rows))
        assert path.read_bytes().endswith(b"\n")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def _change(home: Path, times: int) -> None:
    registry = Registry(Home(home))
    for _ in range(times):
        with contextlib.suppress(NotAllowed), registry.busy("pi", f"process {os.getpid()}"):
            registry.add(canary())


def test_several_processes_add_rows_and_none_is_lost(home: Path, registry: Registry) -> None:
    make_ready(registry)
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_change, args=(home, 40)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    rows = registry.history("pi")
    assert [row.before for row in rows[1:]] == [row.to for row in rows[:-1]]
    assert sum(row.to is S.BUSY for row in rows) == 120
    assert len(registry.canaries("pi")) == 121


def test_a_name_that_is_no_folder_name_stays_inside_the_home(registry: Registry) -> None:
    make_ready(registry, "../outside")
    assert registry.state("../outside") is S.READY
    assert [path.name for path in (registry.home.root / "devices").iterdir()] == [digest("../outside")]


# ------------------------------------------------------------------ in the database


@pytest.fixture
def farm(registry: Registry) -> Home:
    make_ready(registry)
    ingest(registry.home)
    return registry.home


def query(home: Home, sql: str) -> list[tuple[object, ...]]:
    with Reader(home) as reader:
        return [tuple(row.values()) for row in reader.query(sql)]


def test_rows_are_in_the_database_once_however_often_it_is_filled(farm: Home) -> None:
    version = ingest(farm)
    assert query(farm, "SELECT device, number, before, state, who, failures FROM device_transitions ORDER BY 2") == [
        ("pi", 1, None, "registered", "person", 0),
        ("pi", 2, "registered", "checking", "farm", 0),
        ("pi", 3, "checking", "ready", "farm", 0),
    ]
    assert query(farm, "SELECT device, number, clean, bench_tg, ppl, conditions->>'os' FROM canaries") == [
        ("pi", 1, True, 20.0, 3.5, "Debian")
    ]
    assert ingest(farm) == version
    Registry(farm).add(canary(clean=False, bench_tg=9.0))
    assert ingest(farm) == version + 1
    assert query(farm, "SELECT number, clean, why, bench_tg, ppl FROM canaries WHERE number > 1") == [
        (2, False, "slow", 9.0, None)
    ]


def test_a_rebuild_makes_the_same_rows(farm: Home) -> None:
    sql = "SELECT * FROM device_transitions ORDER BY ALL"
    before = query(farm, sql), query(farm, "FROM canaries")
    rebuild(farm)
    assert (query(farm, sql), query(farm, "FROM canaries")) == before
    assert verify(farm) == []


def test_a_row_that_is_not_in_the_record_is_found(farm: Home) -> None:
    with contextlib.closing(open_writer(working_path(farm))) as connection:
        connection.execute("UPDATE canaries SET bench_tg = 99")
    assert ("device_record", "pi") in [(one.kind, one.name) for one in verify(farm)]


def test_a_damaged_record_is_named_and_the_other_devices_are_loaded(farm: Home) -> None:
    make_ready(Registry(farm), "desk")
    path = farm.root / "devices" / "pi" / TRANSITIONS
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    ingest(farm)
    assert query(farm, "SELECT count(*) FROM device_transitions WHERE device = 'desk'") == [(3,)]
    assert ("unreadable", "pi") in [(one.kind, one.name) for one in verify(farm)]
