"""Series from what landed night by night, and the reports that are kept of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantfarm.errors import FarmError
from quantfarm.nightly.points import Point
from quantfarm.nightly.series import key_of
from quantfarm.nightly.verdicts import NightReport
from storage import nights
from storage.home import Home
from storage.ingest import ingest
from storage.reading import Reader
from tests.nights import cell, launches, night, put, series

KEY = key_of(cell(), "bench_tg")


def points(home: Path) -> list[Point]:
    ingest(Home(home))
    with Reader(Home(home)) as reader:
        return nights.series(reader)[KEY]


def test_a_night_is_the_median_of_its_launches(home: Path) -> None:
    for one, value in zip(launches(cell(), 3), (10.0, 12.0, 50.0), strict=True):
        put(home, one, night(0), {"bench_tg": value})
    (point,) = points(home)
    assert (point.value, point.n, point.unit, point.night) == (12.0, 3, "tok/s", night(0))
    assert point.simulated
    assert point.cells == tuple(one.id for one in launches(cell(), 3))


def test_nights_are_in_order_and_a_night_without_data_is_not_there(home: Path) -> None:
    series(home, [10.0, None, 11.0])
    assert [(one.night, one.value) for one in points(home)] == [(night(0), 10.0), (night(2), 11.0)]


def test_reruns_and_what_a_person_measured_are_no_part_of_it(home: Path) -> None:
    put(home, cell(), night(0), {"bench_tg": 10.0})
    put(home, cell(), night(0), {"bench_tg": 99.0}, attempt=2, sweep="rerun-x")
    put(home, cell(), night(0), {"bench_tg": 99.0}, attempt=3)
    (point,) = points(home)
    assert (point.value, point.n) == (99.0, 1)  # the latest attempt of the night, the rerun aside


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"os": "Debian 14"}, "os"),
        ({"versions": {"ggml": "0.9"}}, "versions"),
        ({"governor": "powersave"}, "governor"),
        ({"settings": {"swa_full": True}}, "settings"),
        ({"on_mains": True}, "on_mains"),
    ],
)
def test_what_must_be_equal_is_an_attribute(home: Path, change: dict[str, Any], name: str) -> None:
    put(home, cell(), night(0), {"bench_tg": 10.0})
    put(home, cell(), night(1), {"bench_tg": 10.0}, attempt=2, **change)
    before, after = (one.attributes for one in points(home))
    assert {key for key in {**before, **after} if before.get(key) != after.get(key)} == {name}


def test_what_changes_each_run_is_none(home: Path) -> None:
    put(home, cell(), night(0), {"bench_tg": 10.0}, load_1min=0.1, memory_available_mib=900, battery_pct=55.0)
    put(home, cell(), night(1), {"bench_tg": 10.0}, attempt=2, load_1min=0.7, hot_start=True, quantfarm="2")
    before, after = (one.attributes for one in points(home))
    assert before == after


def test_a_new_build_is_the_same_series(home: Path) -> None:
    put(home, cell(), night(0), {"bench_tg": 10.0})
    put(home, replace(cell(), build="fake 2"), night(1), {"bench_tg": 10.0})
    assert [one.build for one in points(home)] == ["fake 1", "fake 2"]


def test_of_a_night_with_two_builds_the_later_counts(home: Path) -> None:
    put(home, cell(), night(0), {"bench_tg": 10.0})
    put(home, replace(cell(), build="fake 2", launch=1), night(0), {"bench_tg": 20.0})
    (point,) = points(home)
    assert (point.value, point.build, point.n) == (20.0, "fake 2", 1)


def a_report(number: int) -> NightReport:
    return NightReport(
        night=night(number), began_at="2026-11-20T02:00:00+00:00", finished_at="2026-11-20T03:00:00+00:00"
    )


def test_a_report_is_kept_once_and_read_back(home: Path) -> None:
    assert nights.reports(Home(home)) == []
    for number in (1, 0):
        nights.keep(Home(home), a_report(number))
    assert nights.reports(Home(home)) == [a_report(0), a_report(1)]
    assert nights.report(Home(home), night(1)) == a_report(1)
    assert nights.report(Home(home), night(2)) is None
    with pytest.raises(FarmError, match="has its report already"):
        nights.keep(Home(home), a_report(0))


def test_a_report_that_cannot_be_read_is_said_and_not_passed_over(home: Path) -> None:
    path = nights.keep(Home(home), a_report(0))
    path.chmod(0o644)
    path.write_text('{"schema": 1, "nigh')
    with pytest.raises(FarmError, match=path.name):
        nights.reports(Home(home))
    problems: dict[str, str] = {}
    assert nights.reports(Home(home), problems) == []
    assert list(problems) == [path.name]
