"""Each kind of damage is found and named, and a sound home has none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.artifacts import Artifacts
from storage.database import open_writer
from storage.home import Home
from storage.ingest import ingest, rebuild, working_path
from storage.names import cell_path, trace_path
from storage.publish import current
from storage.verify import verify
from tests.storing import FAILED, QUALITY, cell, landed, put, recipe

STEM = f"{cell(0).id}.1"


@pytest.fixture
def farm(home: Path) -> Home:
    """Three cells and an artifact, ingested."""
    farm = Home(home)
    put(farm, landed(cell(0), figures={"bench_tg": 12.5}))
    put(farm, landed(cell(1), outcome=FAILED))
    put(farm, landed(cell(workload=QUALITY), figures={"ppl": 9.0}))
    store = Artifacts(farm)
    file = store.partial(recipe())
    file.write_bytes(b"GGUF weights")
    store.adopt(file, recipe())
    ingest(farm)
    return farm


def found(farm: Home) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in verify(farm)]


def edit(path: Path, old: str, new: str) -> None:
    path.chmod(0o644)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def sql(farm: Home, *statements: str) -> None:
    with contextlib.closing(open_writer(working_path(farm))) as connection:
        for statement in statements:
            connection.execute(statement, {"mine": cell(0).id} if "$mine" in statement else None)


def test_a_sound_home_has_nothing_to_report_and_is_left_as_it_was(farm: Home) -> None:
    before = sorted((p.relative_to(farm.root), p.stat().st_mtime_ns) for p in farm.root.rglob("*") if p.is_file())
    assert verify(farm) == []
    after = sorted((p.relative_to(farm.root), p.stat().st_mtime_ns) for p in farm.root.rglob("*") if p.is_file())
    assert [name for name, _ in before] == [name for name, _ in after]
    assert [f for f in before if f[0].name != "ingest.lock"] == [f for f in after if f[0].name != "ingest.lock"]


def test_an_empty_home_has_nothing_to_report(tmp_path: Path) -> None:
    assert verify(Home(tmp_path / "empty")) == []


def test_cells_that_were_never_carried_into_a_database_are_reported(tmp_path: Path) -> None:
    farm = Home(tmp_path / "home")
    put(farm, landed(cell()))
    assert found(farm) == [("no_database", "working.duckdb")]


Damage = Callable[[Home], object]

IN_THE_DATABASE: dict[str, tuple[Damage, list[tuple[str, str]]]] = {
    "a cell's row is gone": (
        lambda farm: sql(farm, "DELETE FROM cells WHERE cell = $mine"),
        [("missing_row", STEM)],
    ),
    "a row that nobody landed": (
        lambda farm: sql(
            farm,
            "INSERT INTO cells BY NAME SELECT * REPLACE ('deadbeef' AS cell) FROM cells WHERE cell = $mine",
        ),
        [("extra_row", "deadbeef.1")],
    ),
    "a changed fact of a cell": (
        lambda farm: sql(farm, "UPDATE cells SET seconds = 99 WHERE cell = $mine"),
        [("changed_row", STEM)],
    ),
    "a changed figure": (
        lambda farm: sql(farm, "UPDATE measurements SET value = 99 WHERE metric = 'bench_tg'"),
        [("changed_row", STEM)],
    ),
    "a figure that is gone": (
        lambda farm: sql(farm, "DELETE FROM measurements WHERE metric = 'bench_tg'"),
        [("changed_row", STEM)],
    ),
    "a doubled figure": (
        lambda farm: sql(farm, "INSERT INTO measurements FROM measurements WHERE metric = 'bench_tg'"),
        [("changed_row", STEM)],
    ),
    "a changed sample": (
        lambda farm: sql(farm, "UPDATE samples SET value = 7 WHERE cell = $mine AND name = 'rss_mib'"),
        [("changed_row", STEM)],
    ),
    "a changed chunk": (
        lambda farm: sql(farm, 'UPDATE chunks SET nll = 7 WHERE "index" = 1'),
        [("changed_row", f"{cell(workload=QUALITY).id}.1")],
    ),
    "a changed text": (
        lambda farm: sql(farm, "UPDATE texts SET n_ctx = 7"),
        [("changed_row", f"{cell(workload=QUALITY).id}.1")],
    ),
    "the wrong attempt counts": (
        lambda farm: sql(farm, "UPDATE cells SET current = false WHERE cell = $mine"),
        [("changed_row", STEM)],
    ),
}


@pytest.mark.parametrize("damage", IN_THE_DATABASE)
def test_damage_in_the_database_is_found_and_a_rebuild_mends_it(farm: Home, damage: str) -> None:
    do, expected = IN_THE_DATABASE[damage]
    do(farm)
    assert [one for one in found(farm) if one[0] != "published"] == expected
    rebuild(farm)
    assert verify(farm) == []


IN_THE_FILES: dict[str, tuple[Damage, list[tuple[str, str]]]] = {
    "an edited figure": (
        lambda farm: edit(cell_path(farm, cell(0).id, 1), "12.5", "13.5"),
        [("changed_row", STEM), ("changed_row", STEM)],  # the row of the cell's file, and the figure
    ),
    "an edited remark that no column holds": (
        lambda farm: edit(cell_path(farm, cell(0).id, 1), '"address": ""', '"address": "elsewhere"'),
        [("changed_row", STEM)],
    ),
    "a cell that is gone": (
        lambda farm: cell_path(farm, cell(0).id, 1).unlink(),
        [("stray_trace", f"{STEM}.jsonl"), ("extra_row", STEM)],
    ),
    "a cell that is no longer readable": (
        lambda farm: edit(cell_path(farm, cell(0).id, 1), "{", "["),
        [("unreadable", f"{STEM}.json"), ("extra_row", STEM)],
    ),
    "a trace that is gone": (
        lambda farm: trace_path(farm, cell(0).id, 1).unlink(),
        [("trace_missing", f"{STEM}.jsonl"), ("changed_row", STEM)],
    ),
    "a trace that was edited": (
        lambda farm: edit(trace_path(farm, cell(0).id, 1), "10.5", "11.5"),
        [("trace_changed", f"{STEM}.jsonl"), ("changed_row", STEM)],
    ),
    "a trace whose last line is cut": (
        lambda farm: edit(trace_path(farm, cell(0).id, 1), '"ok": true}\n', '"ok"'),
        [("trace_changed", f"{STEM}.jsonl")],
    ),
    "a trace that belongs to nobody": (
        lambda farm: (farm.traces / "ffff.1.jsonl").write_text("{}\n"),
        [("stray_trace", "ffff.1.jsonl")],
    ),
    "an artifact with a changed byte": (
        lambda farm: edit(next(farm.artifacts.glob("*/model.gguf")), "weights", "Weights"),
        [("artifact", "Q4_K_M")],
    ),
    "a cell that landed since": (
        lambda farm: put(farm, landed(cell(7))),
        [("missing_row", f"{cell(7).id}.1")],
    ),
}


@pytest.mark.parametrize("damage", IN_THE_FILES)
def test_damage_in_the_files_is_found(farm: Home, damage: str) -> None:
    do, expected = IN_THE_FILES[damage]
    do(farm)
    assert [(kind, name.split(" ")[0]) for kind, name in found(farm)] == expected


def test_a_row_that_changed_is_told_from_a_file_that_changed(farm: Home) -> None:
    sql(farm, "UPDATE cells SET seconds = 99 WHERE cell = $mine")
    assert verify(farm)[0].detail == "its row has changed: seconds"
    rebuild(farm)
    edit(cell_path(farm, cell(0).id, 1), '"seconds": 1.5', '"seconds": 2.5')
    assert verify(farm)[0].detail == "its file has changed since it was loaded: seconds, file_sha256"


def test_a_published_version_that_is_not_the_working_database_is_found(farm: Home) -> None:
    published = current(farm)
    assert published is not None
    with contextlib.closing(open_writer(published.path)) as connection:
        connection.execute("UPDATE measurements SET value = 99 WHERE metric = 'ppl'")
    assert found(farm) == [("published", published.path.name)]


@pytest.mark.parametrize("which", ["working", "published"])
def test_a_database_whose_bytes_were_overwritten_is_found(farm: Home, which: str) -> None:
    published = current(farm)
    assert published is not None
    path = working_path(farm) if which == "working" else published.path
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(12288)
        file.write(os.urandom(size - 12288))
    assert [one.kind for one in verify(farm)] == ["database"]
