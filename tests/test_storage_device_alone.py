"""Asking for one device or one metric reads less of the store, and finds the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storage.candidates import candidates
from storage.reading import Reader
from storage.results import results
from tests import made_up


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    home = made_up.store(tmp_path_factory.mktemp("store"))
    with Reader(home) as reader:
        yield reader


def devices(reader: Reader) -> list[str]:
    return [row["device"] for row in reader.query("SELECT DISTINCT device FROM cells ORDER BY device")]


def test_the_candidates_of_a_device_are_those_among_all_candidates(reader: Reader) -> None:
    every = candidates(reader)
    assert len({one.device for one in every}) > 3
    assert any("measured on" in remark for one in every for remark in one.remarks.values())
    for device in devices(reader):
        assert candidates(reader, device=device) == [one for one in every if one.device == device]


def test_the_results_of_a_device_are_those_among_all_results(reader: Reader) -> None:
    every = results(reader)
    for device in devices(reader):
        assert results(reader, device=device) == [row for row in every if row["device"] == device]


def test_the_results_of_a_metric_are_those_among_all_results(reader: Reader) -> None:
    good = [row for row in results(reader) if row["value"] is not None]
    for metric in ("decode_tps", "ppl", "resident_peak"):
        found = [row for row in results(reader, metric=metric) if row["value"] is not None]
        assert found and found == [row for row in good if row["metric"] == metric]


def test_answers_of_tasks_can_be_left_out(reader: Reader) -> None:
    assert any(one.items for one in candidates(reader))
    assert not any(one.items for one in candidates(reader, with_items=False))


def test_everything_in_it_says_that_it_is_made_up(reader: Reader) -> None:
    rows = reader.query("SELECT device, model, conditions FROM cells")
    assert all(row["device"].startswith("madeup-") and row["model"].startswith("madeup-") for row in rows)
    assert all('"made_up": "nothing here was measured"' in row["conditions"] for row in rows)
