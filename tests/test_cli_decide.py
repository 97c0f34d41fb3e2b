"""The verbs that decide and publish, as a user runs them after a sweep."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.sweeping import counts, quantfarm

VARIANTS = {"F16", "Q8_0", "Q4_K_M"}
FIELDS = {
    *("device", "model", "variant", "runtime", "workload", "metric", "value", "unit"),
    *("low", "high", "n", "valid", "reason", "cell"),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, _server: str) -> dict[str, str]:
    """The environment of a home in which a simulated device was swept, with a skip."""
    home = tmp_path_factory.mktemp("measured")
    environment = {"QUANTFARM_HOME": str(home), "QUANTFARM_LEASES": str(home / "leases"), "PREFECT_API_URL": _server}
    folder = home / "device_profiles"
    folder.mkdir()
    small = {"kind": "fake", "simulated": True, "cores": 1, "memory_mib": 8192, "limits": {"memory_mib": 50}}
    (folder / "tiny.yaml").write_text(json.dumps(small))
    arguments = ("--devices", "fake-laptop,tiny", "--quants", ",".join(sorted(VARIANTS)), "--launches", "6")
    done = counts(*arguments, **environment)
    assert done["ok"] == 3 * (6 + 6 + 1)
    assert done["skipped"] == 3 * 3
    return environment


def loaded(*arguments: str, **environment: str) -> Any:
    return json.loads(quantfarm(*arguments, **environment))


def test_results_are_objects_with_every_promised_field(measured: dict[str, str]) -> None:
    rows = loaded("results", "--format", "json", **measured)
    assert all(set(row) >= FIELDS for row in rows)
    assert {row["metric"] for row in rows} >= {"bench_pp", "bench_tg", "decode_tps", "ttft", "load_time", "ppl"}
    tg = [row for row in rows if row["metric"] == "bench_tg"]
    assert {row["variant"] for row in tg} == VARIANTS
    assert all(row["n"] == 6 and row["low"] <= row["value"] <= row["high"] for row in tg)
    assert all(row["simulated"] for row in rows)


def test_results_can_be_narrowed_and_an_unknown_metric_is_answered_with_the_nearest(measured: dict[str, str]) -> None:
    rows = loaded("results", "--metric", "ppl", "--device", "fake-laptop", "--json", **measured)
    assert {row["metric"] for row in rows} == {"ppl"}
    assert "did you mean bench_tg" in quantfarm("results", "--metric", "bench_tgs", code=2, **measured)


def test_results_as_csv_and_parquet_hold_the_same_rows(measured: dict[str, str], tmp_path: Path) -> None:
    rows = loaded("results", "--json", **measured)
    table = list(csv.DictReader(io.StringIO(quantfarm("results", "--format", "csv", **measured))))
    quantfarm("results", "--out", str(tmp_path / "r.parquet"), **measured)
    columns = pq.read_table(tmp_path / "r.parquet").to_pylist()
    assert len(rows) == len(table) == len(columns)
    assert [float(row["value"]) for row in table] == [row["value"] for row in columns] == [row["value"] for row in rows]


def test_parquet_on_a_terminal_is_refused_with_the_way_out(measured: dict[str, str]) -> None:
    assert "--out results.parquet" in quantfarm("results", "--format", "parquet", code=2, **measured)


def test_the_frontier_tells_for_every_variant_whether_it_is_on_it(measured: dict[str, str]) -> None:
    rows = loaded("pareto", "--device", "fake-laptop", "--json", **measured)
    assert {row["variant"] for row in rows} == VARIANTS
    assert any(row["on_frontier"] for row in rows)
    assert all(0 <= row["probability"] <= 1 for row in rows)


def test_a_recommendation_has_its_reason_and_the_command_that_repeats_it(measured: dict[str, str]) -> None:
    made = loaded("recommend", "fake-laptop", "--min-quality", "0", "--json", **measured)
    assert made["variant"] in VARIANTS
    assert made["variant"] in made["reason"]
    assert made["reason"].startswith("Simulated device, not a measurement")
    assert made["reproduce"].startswith("quantfarm sweep ")


def test_wishes_that_nothing_satisfies_are_said_and_the_exit_code_tells(measured: dict[str, str]) -> None:
    made = json.loads(quantfarm("recommend", "fake-laptop", "--max-ram", "1", "--json", code=1, **measured))
    assert made["variant"] is None
    assert "MiB" in made["reason"]


def test_a_device_without_results_is_answered_with_those_that_have_some(measured: dict[str, str]) -> None:
    assert "did you mean fake-laptop" in quantfarm("recommend", "fake-lapto", code=2, **measured)


def test_a_report_is_written_with_its_plots_and_says_what_was_skipped(measured: dict[str, str], tmp_path: Path) -> None:
    paths = loaded("report", "--out", str(tmp_path), "--json", **measured)
    text = (tmp_path / "BENCHMARK.md").read_text()
    assert str(tmp_path / "BENCHMARK.md") in paths
    for name in [path for path in paths if path.endswith(".svg")]:
        assert Path(name).read_text().lstrip().startswith("<?xml")
        assert str(Path(name).relative_to(tmp_path)) in text
    assert "simulated" in text
    assert all(variant in text for variant in VARIANTS)


def test_a_report_is_of_the_documents_asked_for(measured: dict[str, str], tmp_path: Path) -> None:
    def names(*asked: str) -> set[str]:
        paths = loaded("report", *asked, "--out", str(tmp_path / "-".join(asked)), "--json", **measured)
        assert all(Path(path).is_file() for path in paths)
        return {Path(path).relative_to(tmp_path / "-".join(asked)).parts[0] for path in paths}

    assert names() == {"BENCHMARK.md", "WRITEUP.md", "docs"}  # of a simulated device there are no cards
    assert names("writeup") == {"WRITEUP.md", "docs"}
    assert "there is no model card to write" in quantfarm("report", "cards", code=2, **measured)
    assert "'benchmark', 'cards', 'writeup'" in " ".join(quantfarm("report", "card", code=2, **measured).split())


def test_a_report_into_what_is_no_folder_is_one_message(measured: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "Choose another folder" in quantfarm("report", "--out", str(tmp_path / "file"), code=2, **measured)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("verb", [("results",), ("pareto",), ("recommend", "local"), ("report",)])
def test_before_the_first_sweep_every_verb_says_what_to_do(home: Path, verb: tuple[str, ...]) -> None:
    assert "run `quantfarm sweep`" in quantfarm(*verb, code=2)


def test_the_doctor_finds_this_machine_in_order(home: Path) -> None:
    found = {one["what"]: one for one in loaded("doctor", "--json", QUANTFARM_HOME=os.environ["QUANTFARM_HOME"])}
    assert found["duckdb"]["ok"] and found["prefect"]["ok"] and found["llama.cpp"]["ok"]
    assert found["results"]["ok"] is None
