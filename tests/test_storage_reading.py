"""Readers see a whole published version, whoever publishes meanwhile, and are told plainly when there is none."""

from __future__ import annotations

import threading
from pathlib import Path

import duckdb
import pytest

from quantfarm.errors import FarmError, UsageError
from storage.home import Home
from storage.ingest import ingest, lock_path
from storage.publish import current
from storage.reading import NoResults, Reader
from tests.storing import cell, landed, put
from tests.test_storage_ingest import OPEN, held


@pytest.fixture
def farm(home: Path) -> Home:
    return Home(home)


def test_before_the_first_sweep_the_user_is_told_what_to_do(farm: Home) -> None:
    with pytest.raises(UsageError, match=r"no results yet in .*home: run `quantfarm sweep`"):
        Reader(farm)
    assert not farm.root.exists()


def test_a_query_gives_rows_by_name_and_an_arrow_table(farm: Home) -> None:
    put(farm, landed(cell(), figures={"bench_tg": 2.0, "bench_pp": 30.0}))
    ingest(farm)
    asked = "SELECT metric, value FROM measurements WHERE value > ? ORDER BY 1"
    with Reader(farm) as reader:
        assert reader.version == 1
        assert reader.query(asked, [5]) == [{"metric": "bench_pp", "value": 30.0}]
        assert reader.arrow(asked, [1]).to_pydict() == {"metric": ["bench_pp", "bench_tg"], "value": [30.0, 2.0]}


def test_a_reader_stays_with_its_version(farm: Home) -> None:
    put(farm, landed(cell(0)))
    ingest(farm)
    with Reader(farm) as reader:
        for n in range(1, 8):
            put(farm, landed(cell(n)))
            ingest(farm)
        assert reader.query("SELECT count(*) AS n FROM cells") == [{"n": 1}]
        assert reader.version == 1
    with Reader(farm) as reader:
        assert reader.version == 8
        assert reader.query("SELECT count(*) AS n FROM cells") == [{"n": 8}]


def test_a_reader_can_neither_write_nor_reach_other_files(farm: Home) -> None:
    put(farm, landed(cell()))
    ingest(farm)
    with Reader(farm) as reader:
        for statement in (
            "DELETE FROM cells",
            "SELECT * FROM read_csv('/etc/hostname')",
            f"COPY cells TO '{farm.root}/stolen.csv'",
            f"ATTACH '{farm.root}/other.duckdb'",
            "SET enable_external_access = true",
            "INSTALL httpfs",
        ):
            with pytest.raises(duckdb.Error):
                reader.query(statement)
    assert not (farm.root / "stolen.csv").exists()


def test_one_reader_serves_many_threads(farm: Home) -> None:
    for n in range(20):
        put(farm, landed(cell(n), figures={"bench_tg": float(n)}))
    ingest(farm)
    answers: list[float] = []
    with Reader(farm) as reader:

        def ask(n: int) -> None:
            for _ in range(20):
                found = reader.query("SELECT value FROM measurements WHERE value = ?", [n])
                answers.append(found[0]["value"] - n)

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [0.0] * 160


def test_a_first_publication_under_way_is_waited_for(farm: Home) -> None:
    put(farm, landed(cell()))
    told: list[str] = []
    with held(lock_path(farm)) as other:

        def publish(holder: str) -> None:
            told.append(holder)
            other.kill()
            other.wait()
            ingest(farm)

        with Reader(farm, on_wait=publish) as reader:
            assert reader.query("SELECT count(*) AS n FROM cells") == [{"n": 1}]
    assert f"process {other.pid}" in told[0]


def test_a_first_publication_that_does_not_end_is_told_with_who_makes_it(farm: Home) -> None:
    with held(lock_path(farm)) as other, pytest.raises(FarmError) as caught:
        Reader(farm, wait_s=0.2)
    assert f"being written by process {other.pid}" in str(caught.value)
    assert not isinstance(caught.value, NoResults)


def test_a_published_version_that_someone_opened_to_write_is_waited_for_and_its_holder_named(farm: Home) -> None:
    put(farm, landed(cell()))
    ingest(farm)
    published = current(farm)
    assert published is not None
    with held(published.path, OPEN) as other, pytest.raises(FarmError, match=rf"held by .*process {other.pid}\)"):
        Reader(farm, wait_s=0.2)


def test_readers_under_constant_publishing_see_no_error(farm: Home) -> None:
    put(farm, landed(cell(0)))
    ingest(farm)
    stop, errors, reads = threading.Event(), list[Exception](), list[int]()

    def read() -> None:
        while not stop.is_set():
            try:
                with Reader(farm) as reader:
                    (row,) = reader.query("SELECT count(*) AS n, count(DISTINCT cell) AS d FROM cells")
                assert row["n"] == row["d"]
                reads.append(row["n"])
            except Exception as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(1, 16):
        put(farm, landed(cell(n)))
        ingest(farm)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(reads) >= 15
