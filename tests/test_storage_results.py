"""Results: one row per series and metric, honest about how sure it is, and a row for what failed."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from quantfarm.errors import UsageError
from quantfarm.nouns import Measurement
from storage.home import Home
from storage.ingest import ingest
from storage.reading import Reader
from storage.results import COLUMNS, results, to_csv, to_json, to_parquet
from tests.storing import APP, FAILED, PHONE, QUALITY, cell, landed, launches, put

PROMISED = {"device", "model", "variant", "runtime", "workload", "metric", "value", "unit"}
PROMISED |= {"low", "high", "n", "valid", "reason", "cell"}


@pytest.fixture
def farm(home: Path) -> Home:
    return Home(home)


def rows(farm: Home, **asked: str) -> list[dict]:
    ingest(farm)
    with Reader(farm) as reader:
        return results(reader, **asked)


def test_a_row_has_everything_that_is_promised(farm: Home) -> None:
    put(farm, landed(cell(), figures={"bench_tg": 12.5}))
    (row,) = rows(farm)
    assert row.keys() >= PROMISED
    assert set(row) == set(COLUMNS.names)
    assert (row["device"], row["model"], row["variant"]) == ("laptop", "reference", "Q4_K_M")
    assert (row["runtime"], row["workload"], row["metric"]) == ("llama_cpp", "bench pp512 tg128", "bench_tg")
    assert (row["value"], row["unit"], row["cell"], row["series"]) == (12.5, "tok/s", cell().id, cell().series)


def test_the_value_is_the_median_over_launches_with_its_interval(farm: Home) -> None:
    launches(farm, "bench_tg", [5.0, 1.0, 4.0, 2.0, 3.0, 100.0])
    (row,) = rows(farm)
    assert (row["value"], row["low"], row["high"], row["n"], row["launches"]) == (3.5, 1.0, 100.0, 6, 6)
    assert (row["valid"], row["reason"]) == (True, "")


def test_below_six_launches_there_is_no_interval_and_it_says_so(farm: Home) -> None:
    launches(farm, "bench_tg", [5.0, 1.0, 4.0, 2.0, 3.0])
    (row,) = rows(farm)
    assert (row["value"], row["low"], row["high"], row["n"]) == (3.0, None, None, 5)
    assert (row["valid"], row["reason"]) == (True, "no 95 % interval below 6 launches")


def test_one_quality_launch_has_its_own_interval_over_its_tokens(farm: Home) -> None:
    figure = Measurement(metric="ppl", value=9.5, unit="", n=510, low=9.0, high=10.0)
    put(farm, landed(cell(workload=QUALITY), figures=[figure]))
    (row,) = rows(farm)
    assert (row["value"], row["low"], row["high"], row["n"], row["launches"]) == (9.5, 9.0, 10.0, 510, 1)
    assert row["reason"] == ""


def test_a_speed_launch_alone_does_not_lend_its_own_interval(farm: Home) -> None:
    put(
        farm, landed(cell(), figures=[Measurement(metric="bench_tg", value=9.5, unit="tok/s", n=5, low=9.0, high=10.0)])
    )
    (row,) = rows(farm)
    assert (row["low"], row["high"], row["n"]) == (None, None, 1)


def invalid(value: float) -> Measurement:
    return Measurement(metric="bench_tg", value=value, unit="tok/s", remark="invalid: 9 major page faults")


def test_a_figure_whose_every_launch_is_invalid_is_not_valid_and_says_why(farm: Home) -> None:
    for n in range(2):
        put(farm, landed(cell(n), figures=[invalid(5.0)]))
    (row,) = rows(farm)
    assert (row["value"], row["valid"]) == (5.0, False)
    assert row["reason"].startswith("invalid: 9 major page faults")


def test_invalid_launches_do_not_count_beside_valid_ones(farm: Home) -> None:
    launches(farm, "bench_tg", [10.0, 12.0])
    put(farm, landed(cell(2), figures=[invalid(500.0)]))
    (row,) = rows(farm)
    assert (row["value"], row["valid"], row["n"]) == (11.0, True, 2)
    assert "1 invalid launch left out" in row["reason"]


def test_remarks_are_said_once_each(farm: Home) -> None:
    figure = Measurement(metric="resident_peak", value=9.5, unit="MiB", remark="estimated")
    for n in range(3):
        put(farm, landed(cell(n), figures=[figure]))
    (row,) = rows(farm)
    assert row["reason"] == "estimated; no 95 % interval below 6 launches"


def test_a_failed_cell_is_a_row_with_stage_and_reason(farm: Home) -> None:
    put(farm, landed(cell(workload=APP), outcome=FAILED))
    (row,) = rows(farm)
    assert (row["metric"], row["value"], row["valid"], row["n"]) == ("decode_tps", None, False, 0)
    assert row["reason"] == "load: out of memory"


def test_a_failure_that_was_made_good_is_no_row(farm: Home) -> None:
    put(farm, landed(cell(), 1, FAILED))
    put(farm, landed(cell(), 2, figures={"bench_tg": 3.0}))
    put(farm, landed(cell(), 3, FAILED))
    (row,) = rows(farm)
    assert row["value"] == 3.0


def test_a_fresh_measurement_takes_the_place_of_the_old_one(farm: Home) -> None:
    put(farm, landed(cell(), 1, figures={"bench_tg": 1.0}))
    put(farm, landed(cell(), 2, figures={"bench_tg": 2.0}))
    (row,) = rows(farm)
    assert (row["value"], row["n"]) == (2.0, 1)


def test_another_build_or_workload_is_another_row(farm: Home) -> None:
    put(farm, landed(cell(), figures={"bench_tg": 1.0}))
    put(farm, landed(cell(build="llama-cpp-python 0.4"), figures={"bench_tg": 2.0}))
    put(farm, landed(cell(workload=APP), figures={"decode_tps": 3.0}))
    assert sorted(row["value"] for row in rows(farm)) == [1.0, 2.0, 3.0]


def test_a_simulated_device_is_marked(farm: Home) -> None:
    put(farm, landed(cell(profile=replace(PHONE, simulated=True)), figures={"bench_tg": 1.0}))
    assert [row["simulated"] for row in rows(farm)] == [True]


def test_rows_can_be_asked_for_by_device_metric_and_model(farm: Home) -> None:
    put(farm, landed(cell(), figures={"bench_tg": 1.0, "bench_pp": 10.0}))
    put(farm, landed(cell(profile=PHONE), figures={"bench_tg": 2.0}))
    put(farm, landed(cell(1, profile=PHONE), outcome=FAILED))
    assert [row["value"] for row in rows(farm, device="phone", metric="bench_tg")] == [2.0, None]
    assert [row["metric"] for row in rows(farm, device="phone", metric="bench_pp")] == ["bench_pp"]  # the failure
    assert rows(farm, metric="ppl") == []
    assert len(rows(farm, model="reference")) == 4


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"device": "labtop"}, "unknown device 'labtop' in the results: did you mean laptop?"),
        ({"model": "referense"}, "unknown model 'referense' in the results: did you mean reference?"),
        ({"metric": "bench_td"}, "unknown metric 'bench_td': did you mean bench_tg?"),
    ],
)
def test_an_unknown_name_is_answered_with_suggestions(farm: Home, asked: dict[str, str], said: str) -> None:
    put(farm, landed(cell(), figures={"bench_tg": 1.0}))
    with pytest.raises(UsageError) as caught:
        rows(farm, **asked)
    assert said in str(caught.value)


@pytest.fixture
def some(farm: Home) -> list[dict]:
    launches(farm, "bench_tg", [1.0, float("inf"), float("inf")])
    put(farm, landed(cell(9), outcome=replace(FAILED, reason='said "no", twice\nand é')))
    return rows(farm)


def test_json_is_a_list_of_objects_and_what_is_no_number_is_null(some: list[dict]) -> None:
    back = json.loads(to_json(some), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [row["value"] for row in back] == [None, None]
    assert back[1]["reason"] == 'load: said "no", twice\nand é'
    assert back[1]["valid"] is False


def test_csv_comes_back_as_it_was(some: list[dict]) -> None:
    back = list(csv.DictReader(io.StringIO(to_csv(some))))
    assert list(back[0]) == COLUMNS.names
    assert back[1]["reason"] == 'load: said "no", twice\nand é'
    assert (back[0]["valid"], back[1]["valid"], back[1]["value"]) == ("true", "false", "")


def test_parquet_has_a_type_for_each_column_even_without_rows(some: list[dict], tmp_path: Path) -> None:
    to_parquet(some, tmp_path / "some.parquet")
    to_parquet([], tmp_path / "none.parquet")
    assert pq.read_table(tmp_path / "some.parquet").to_pylist() == some
    assert pq.read_schema(tmp_path / "none.parquet").equals(COLUMNS)
