"""A launch over time: one axis for samples, repetitions and tokens, and no more points than a plot can show."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantfarm.errors import UsageError
from storage.home import Home
from storage.ingest import ingest
from storage.names import trace_path
from storage.reading import Reader
from storage.timeline import Timeline, timeline, tokens, unit
from tests.storing import APP, LINES, cell, landed, put, sample

SECOND = 10**9
CELL = cell(workload=APP)


@pytest.fixture
def farm(home: Path) -> Home:
    return Home(home)


def event(kind: str, **fields: Any) -> str:
    return json.dumps({"event": kind, **fields})


def decode(repetition: int, times: Iterable[int]) -> str:
    whole = list(times)
    return event("decode", t=0, mode="app", repetition=repetition, submit=whole[0] - SECOND, times=whole)


def shown(farm: Home, lines: Iterable[str], buckets: int = 1000) -> Timeline:
    put(farm, landed(CELL), [LINES[0], *lines, LINES[-1]])
    ingest(farm)
    with Reader(farm) as reader:
        return timeline(reader, CELL.id, 1, buckets)


def test_the_axis_begins_with_the_first_sample_in_seconds(farm: Home) -> None:
    found = shown(farm, [sample(5 * SECOND, rss_mib=10.0), sample(7 * SECOND, rss_mib=30.0)])
    assert found.zero == 5 * SECOND
    assert found.readings.select(["source", "name", "s", "mean"]).to_pylist() == [
        {"source": "proc", "name": "rss_mib", "s": 0.0, "mean": 10.0},
        {"source": "proc", "name": "rss_mib", "s": 2.0, "mean": 30.0},
    ]


def test_repetitions_are_on_the_same_axis(farm: Home) -> None:
    prefill = event("prefill", t=0, mode="app", repetition=0, tokens=128, depth=0, seconds=1.0)
    found = shown(farm, [sample(5 * SECOND, rss_mib=1.0), prefill, decode(0, [8 * SECOND, 9 * SECOND, 10 * SECOND])])
    said = [(row["phase"], row["began_s"], row["finished_s"]) for row in found.repetitions.to_pylist()]
    assert said == [("prefill", 2.0, 3.0), ("decode", 3.0, 5.0)]
    assert found.repetitions.column("tokens_per_s").to_pylist() == [128.0, 1.0]


def test_a_peak_is_kept_however_few_the_buckets(farm: Home) -> None:
    values = [1.0] * 99 + [50.0]
    found = shown(farm, [sample(n, rss_mib=value) for n, value in enumerate(values)], buckets=2)
    first, second = found.readings.to_pylist()
    assert (first["least"], first["most"], first["n"]) == (1.0, 1.0, 50)
    assert (second["least"], second["most"], second["n"], second["mean"]) == (1.0, 50.0, 50, 1.98)


def test_each_reading_has_buckets_of_its_own(farm: Home) -> None:
    found = shown(farm, [sample(n, rss_mib=1.0, cpu_c=60.0) for n in range(100)], buckets=10)
    assert found.readings.num_rows == 20
    assert {name: unit(name) for name in found.readings.column("name").to_pylist()} == {"rss_mib": "MiB", "cpu_c": "°C"}


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=40), st.integers(1, 8))
def test_no_reading_is_lost_and_no_bucket_too_many(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], buckets: int
) -> None:
    found = shown(Home(tmp_path_factory.mktemp("home")), [sample(t, rss_mib=1.0) for t in times], buckets)
    assert found.readings.num_rows <= buckets
    assert sum(found.readings.column("n").to_pylist()) == len(times)


def test_a_launch_without_samples_has_an_empty_timeline(farm: Home) -> None:
    found = shown(farm, [])
    assert (found.zero, found.readings.num_rows, found.repetitions.num_rows) == (None, 0, 0)


def test_an_attempt_that_is_not_there_is_said(farm: Home) -> None:
    put(farm, landed(CELL))
    ingest(farm)
    with Reader(farm) as reader, pytest.raises(UsageError, match=f"no attempt 2 of cell '{CELL.id}'"):
        timeline(reader, CELL.id, 2)


def test_gaps_between_tokens_come_from_the_trace(farm: Home) -> None:
    shown(farm, [decode(0, [10 * SECOND, 11 * SECOND, 13 * SECOND])])
    found = tokens(farm, CELL.id, 1, zero=9 * SECOND)
    assert found is not None
    assert found.to_pylist() == [
        {"repetition": 0, "s": 2.0, "mean_ms": 1000.0, "least_ms": 1000.0, "most_ms": 1000.0, "n": 1},
        {"repetition": 0, "s": 4.0, "mean_ms": 2000.0, "least_ms": 2000.0, "most_ms": 2000.0, "n": 1},
    ]


def test_the_pause_between_two_repetitions_is_no_gap_between_tokens(farm: Home) -> None:
    shown(farm, [decode(0, [1 * SECOND, 2 * SECOND]), decode(1, [90 * SECOND, 91 * SECOND])])
    found = tokens(farm, CELL.id, 1, zero=SECOND, buckets=1)
    assert found is not None
    assert [(row["repetition"], row["most_ms"], row["n"]) for row in found.to_pylist()] == [(0, 1000, 1), (1, 1000, 1)]


def test_many_tokens_become_few_buckets(farm: Home) -> None:
    shown(farm, [decode(0, range(SECOND, 2 * SECOND, 10**6))])
    found = tokens(farm, CELL.id, 1, zero=SECOND, buckets=10)
    assert found is not None and found.num_rows == 10 and sum(found.column("n").to_pylist()) == 999


def test_a_trace_that_is_gone_or_has_no_token_times_tells_of_no_tokens(farm: Home) -> None:
    shown(farm, [sample(1, rss_mib=1.0)])
    assert tokens(farm, CELL.id, 1, zero=0) is None
    trace_path(farm, CELL.id, 1).unlink()
    assert tokens(farm, CELL.id, 1, zero=0) is None
