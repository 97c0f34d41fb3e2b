"""One index of what has landed serves all lanes of a process, in folders of any size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import landed_index
from storage.landed_index import LandedIndex, index_of

LARGE = landed_index.SMALL + 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cells").mkdir()
    return tmp_path / "cells"


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Every reading of a whole folder."""
    seen: list[Path] = []
    real = landed_index.scan

    def counted(folder: Path) -> tuple[dict[str, tuple[int, ...]], int]:
        seen.append(folder)
        return real(folder)

    monkeypatch.setattr(landed_index, "scan", counted)
    yield seen


def land(folder: Path, cell: str, attempt: int) -> None:
    (folder / f"{cell}.{attempt}.json").touch()


def fill(folder: Path, count: int = LARGE) -> None:
    for n in range(count):
        land(folder, f"c{n}", 1)


def test_a_folder_that_is_not_there_holds_nothing_and_is_not_made(tmp_path: Path) -> None:
    index = LandedIndex(tmp_path / "cells")
    assert index.of("a") == () and index.all() == {}
    assert not (tmp_path / "cells").exists()


def test_what_is_no_landed_cell_is_passed_over(folder: Path) -> None:
    for name in (".a.1.json.12-34.ab.tmp", "a.json", "a.x.json", "a.1.jsonl", ".1.json"):
        (folder / name).touch()
    land(folder, "a", 2)
    assert LandedIndex(folder).all() == {"a": (2,)}


def test_attempts_come_ascending_whatever_their_digits(folder: Path) -> None:
    for attempt in (10, 9, 1):
        land(folder, "a", attempt)
    assert LandedIndex(folder).of("a") == (1, 9, 10)


def test_in_a_small_folder_a_change_is_seen_at_once_in_any_order(folder: Path) -> None:
    index = LandedIndex(folder)
    assert index.of("a") == ()
    land(folder, "a", 5)
    assert index.of("a") == (5,)
    land(folder, "a", 2)
    assert index.of("a") == (2, 5)
    (folder / "a.5.json").unlink()
    assert index.of("a") == (2,)


def test_in_a_large_folder_what_lands_in_order_is_seen_at_once_without_reading_it_again(
    folder: Path, readings: list[Path]
) -> None:
    fill(folder)
    index = LandedIndex(folder)
    assert index.of("c7") == (1,)
    index._rested_at = float("inf")  # as if reading it were dear
    read = len(readings)
    for attempt in (2, 3, 4):
        land(folder, "c7", attempt)
        land(folder, "new", attempt - 1)
        assert index.of("c7") == tuple(range(1, attempt + 1))
        assert index.of("new") == tuple(range(1, attempt))
    assert len(readings) == read


def test_in_a_large_folder_anything_else_is_seen_when_reading_it_again_costs_little(folder: Path) -> None:
    fill(folder)
    index = LandedIndex(folder)
    assert index.of("c7") == (1,)
    land(folder, "c7", 9)
    index._rested_at = 0
    assert index.of("c7") == (1, 9)


def test_who_asks_for_all_has_the_folder_as_it_is(folder: Path) -> None:
    fill(folder)
    index = LandedIndex(folder)
    assert len(index.all()) == LARGE
    index._rested_at = float("inf")
    land(folder, "c7", 9)
    (folder / "c8.1.json").unlink()
    assert index.all()["c7"] == (1, 9) and "c8" not in index.all()


def test_a_thousand_lookups_do_not_read_a_large_folder_a_thousand_times(folder: Path, readings: list[Path]) -> None:
    fill(folder)
    index = LandedIndex(folder)
    for n in range(1000):
        land(folder, f"d{n}", 1)  # as lanes do: each landing changes the folder
        assert index.of(f"d{n}") == (1,)
    assert len(readings) < 100


def test_a_time_stamp_from_the_future_is_not_trusted(folder: Path) -> None:
    index = LandedIndex(folder)
    land(folder, "a", 1)
    future = 2**62
    os.utime(folder, ns=(future, future))
    assert index.of("a") == (1,)
    land(folder, "a", 7)
    os.utime(folder, ns=(future, future))  # the clock was set back: nothing tells the two apart
    assert index.of("a") == (1, 7)


def test_all_who_ask_for_one_folder_share_its_index(folder: Path, tmp_path: Path) -> None:
    assert index_of(folder) is index_of(Path(folder))
    assert index_of(folder) is not index_of(tmp_path)
