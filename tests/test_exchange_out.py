"""What goes out: Bencher's format holds to its schema, and llama-bench's rows are of real, valid launches alone."""

from __future__ import annotations

import io
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import jsonschema
import pyarrow.parquet as pq
import pytest

from quantfarm.errors import UsageError
from quantfarm.exchange import bencher, importers
from quantfarm.nouns import DeviceProfile, Measurement
from storage.exporting import TABLE, Asked, Exported, export
from storage.home import Home
from storage.ingest import ingest
from storage.reading import Reader
from storage.results import results, to_csv
from tests.storing import BENCH, FAILED, LAPTOP, PHONE, cell, landed, launches, put
from tests.sweeping import QUANTFARM

#: bencher.dev, "Bencher Metric Format", as a JSON schema.
NUMBER = {"type": "number"}
SCHEMA = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": {"value": NUMBER, "lower_value": NUMBER, "upper_value": NUMBER},
            "additionalProperties": False,
            "required": ["value"],
        },
    },
}
FAKE = DeviceProfile(name="fake", kind="fake", chip="none", cores=4, simulated=True)


@pytest.fixture
def farm(home: Path) -> Home:
    return Home(home)


def exported(farm: Home, name: str, **asked: str) -> Exported:
    ingest(farm)
    with Reader(farm) as reader:
        return export(reader, name, Asked(**asked))


def repetition(phase: str, number: int, seconds: float) -> str:
    tokens = 512 if phase == "prefill" else 128
    said = {"mode": "bench", "repetition": number, "tokens": tokens, "depth": 0, "seconds": seconds}
    return json.dumps({"event": phase, "t": number, **said})


LINES = (
    '{"event": "begin", "schema": 1, "t": 0}',
    *(repetition("prefill", i, seconds) for i, seconds in enumerate((0.5, 0.25, 1.0))),
    *(repetition("decode", i, seconds) for i, seconds in enumerate((2.0, 4.0, 1.0))),
    '{"event": "end", "ok": true, "t": 9}',
)
RATES = {"bench_pp": 1024.0, "bench_tg": 64.0}  # medians


def test_the_table_of_formats_can_be_walked(farm: Home) -> None:
    put(farm, landed(cell(), figures=RATES), LINES)
    for name in TABLE:
        assert exported(farm, name).data
    with pytest.raises(UsageError, match=r"unknown format 'xml'.*Known: bencher, csv, llama-bench, parquet"):
        exported(farm, "xml")


def test_csv_and_parquet_are_the_rows_of_the_results(farm: Home) -> None:
    launches(farm, "bench_tg", [5.0, 1.0, 4.0, 2.0, 3.0, 100.0])
    put(farm, landed(cell(quant="Q8_0"), outcome=FAILED))
    made = exported(farm, "csv")
    with Reader(farm) as reader:
        rows = results(reader)
    assert made.data.decode() == to_csv(rows)
    assert pq.read_table(io.BytesIO(exported(farm, "parquet").data)).to_pylist() == rows
    assert made.rows == len(rows) == 2


def test_bencher_has_each_figure_with_its_bounds_and_holds_to_the_schema(farm: Home) -> None:
    launches(farm, "bench_tg", [5.0, 1.0, 4.0, 2.0, 3.0, 100.0])
    put(farm, landed(cell(quant="Q8_0"), figures={"bench_tg": 7.0}))
    made = json.loads(exported(farm, "bencher").data)
    jsonschema.validate(made, SCHEMA)
    name = "laptop / reference / {} / llama_cpp / bench pp512 tg128"
    assert made == {
        name.format("Q4_K_M"): {"bench_tg": {"value": 3.5, "lower_value": 1.0, "upper_value": 100.0}},
        name.format("Q8_0"): {"bench_tg": {"value": 7.0}},  # below six launches there is no interval
    }


def test_of_two_builds_of_a_series_bencher_has_the_one_measured_last(farm: Home) -> None:
    old, new = cell(), cell(build="llama-cpp-python 0.3.37")
    put(farm, landed(new, figures={"bench_tg": 2.0}, started_at="2025-03-02T12:00:00+00:00"))
    put(farm, landed(old, figures={"bench_tg": 1.0}, started_at="2025-03-01T12:00:00+00:00"))
    made = exported(farm, "bencher")
    assert [one["bench_tg"]["value"] for one in json.loads(made.data).values()] == [2.0]
    assert made.left_out == ("1 of an older build",)


def test_failures_void_figures_and_simulated_devices_have_no_value_outside(farm: Home) -> None:
    put(farm, landed(cell(), figures=RATES), LINES)
    put(farm, landed(cell(quant="Q8_0"), outcome=FAILED))
    put(farm, landed(cell(profile=FAKE), figures=RATES), LINES)
    void = [Measurement(metric=name, value=value, unit="tok/s", remark="invalid: x") for name, value in RATES.items()]
    put(farm, landed(cell(quant="Q2_K"), figures=void), LINES)
    inside = json.loads(exported(farm, "bencher").data)
    assert [name.split(" / ")[:3] for name in inside] == [["laptop", "reference", "Q4_K_M"]]
    bench = exported(farm, "llama-bench")
    rows = [json.loads(line) for line in bench.data.splitlines()]
    assert {(row["quantfarm"]["device"], row["quantfarm"]["variant"]) for row in rows} == {("laptop", "Q4_K_M")}
    assert bench.left_out == ("2 launches failed or simulated", "1 launches without known repetitions, or not valid")


def test_a_benchs_repetitions_go_out_as_llama_bench_and_come_in_as_the_same_figures(farm: Home) -> None:
    put(farm, landed(cell(), figures=RATES), LINES)
    put(farm, landed(cell(profile=PHONE), figures=RATES), LINES)
    made = exported(farm, "llama-bench", device="laptop")
    rows = [json.loads(line) for line in made.data.splitlines()]
    assert [(row["n_prompt"], row["n_gen"], row["samples_ns"]) for row in rows] == [
        (512, 0, [500_000_000, 250_000_000, 1_000_000_000]),
        (0, 128, [2_000_000_000, 4_000_000_000, 1_000_000_000]),
    ]
    assert {(row["cpu_info"], row["test_time"]) for row in rows} == {("N100", "2025-03-01T12:00:00Z")}
    again = importers.read(made.data.decode(), "llama-bench-jsonl", "a file")
    assert {one.metric: one.value for one in again.figures} == RATES
    assert {(one.device, one.model, one.variant, one.runtime) for one in again.figures} == {
        ("laptop", "reference", "Q4_K_M", "llama_cpp")
    }


def test_a_bench_whose_repetitions_are_not_known_does_not_go_out_as_llama_bench(farm: Home) -> None:
    put(farm, landed(cell(), figures=RATES))  # its trace has none
    made = exported(farm, "llama-bench")
    assert (made.data, made.rows, made.left_out) == (b"", 0, ("1 launches without known repetitions, or not valid",))


def test_one_metric_alone(farm: Home) -> None:
    put(farm, landed(cell(), figures=RATES), LINES)
    assert b'"bench_pp"' not in exported(farm, "bencher", metric="bench_tg").data
    assert exported(farm, "llama-bench", metric="bench_tg").rows == 1


def test_a_benchmarks_name_is_no_longer_than_bencher_takes() -> None:
    assert len(bencher.name(dict.fromkeys(bencher.PARTS, "x" * 300))) == 1024


def test_the_command_writes_to_stdout_or_a_file_and_refuses_what_it_cannot(farm: Home, tmp_path: Path) -> None:
    put(farm, landed(replace(cell(), profile=LAPTOP, workload=BENCH), figures=RATES), LINES)
    ingest(farm)
    assert list(json.loads(run("--format", "bencher").stdout)) == [
        "laptop / reference / Q4_K_M / llama_cpp / bench pp512 tg128"
    ]
    file = tmp_path / "results.parquet"
    assert "2 figures to" in run("--format", "parquet", "--out", str(file)).stderr
    assert pq.read_table(file).num_rows == 2
    assert "parquet is no text: give a file with --out" in run("--format", "parquet", code=2).stderr
    assert "cannot write" in run("--format", "csv", "--out", str(tmp_path / "no" / "x.csv"), code=2).stderr


def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [QUANTFARM, "export", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done
