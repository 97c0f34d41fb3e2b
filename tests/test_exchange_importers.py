"""What the other tools print becomes figures in our units; what cannot be read is one message with its line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from quantfarm.errors import UsageError
from quantfarm.exchange import importers, units
from quantfarm.exchange.figure import Figure, Reading
from tests.exchanged import LM_EVAL, MLPERF, MLX_BENCHMARK, MLX_GENERATE, OPTIMUM, optimum

TEXTS = {
    "mlx-lm": MLX_BENCHMARK,
    "lm-eval": LM_EVAL,
    "mlperf-client-csv": MLPERF,
    "optimum-benchmark": OPTIMUM,
}


def read(text: str) -> Reading:
    return importers.read(text, importers.recognise(text, "a file"), "a file")


def by_metric(text: str) -> Mapping[str, Figure]:
    return {one.metric: one for one in read(text).figures}


def refusal(text: str, name: str = "") -> str:
    with pytest.raises(UsageError) as error:
        importers.read(text, name or importers.recognise(text, "a file"), "a file")
    return str(error.value)


@pytest.mark.parametrize("name", TEXTS)
def test_each_is_recognised_from_its_content_alone(name: str) -> None:
    assert importers.recognise(TEXTS[name], "a file") == name


def test_the_table_of_formats_can_be_walked() -> None:
    for name in importers.TABLE:
        one = importers.importer(name)
        assert not one.recognises("")
        assert not one.recognises("a letter to a friend\n")


def test_other_tools_units_are_converted_to_ours() -> None:
    assert units.mib(1, "GB") == pytest.approx(953.674, abs=1e-3)
    assert units.mib(1048.576, "MB") == pytest.approx(1000)
    assert (units.mib(2.5, "GiB"), units.mib(3, "MiB"), units.mib(2**20, "B")) == (2560, 3, 1)
    assert (units.seconds(1500, "ms"), units.seconds(2e9, "ns")) == (1.5, 2)
    assert units.joules(1, "kWh") == 3_600_000
    assert units.decode_tps(55.449, 24) == pytest.approx(55.449 * 23 / 24)
    assert units.decode_tps(55.449, 1) is None
    with pytest.raises(KeyError):
        units.mib(1, "furlong")


def test_mlx_trials_are_summarised_by_their_median_and_its_rate_is_of_the_gaps_between_tokens() -> None:
    found = by_metric(MLX_BENCHMARK)
    assert set(found) == {"prompt_tps", "decode_tps", "mlx_peak_memory"}
    assert (found["prompt_tps"].value, found["prompt_tps"].n) == (247.922, 3)
    assert found["decode_tps"].value == pytest.approx(34.741 * 31 / 32)
    assert (found["decode_tps"].unit, found["decode_tps"].workload, found["decode_tps"].line) == (
        "tok/s",
        "app p64 n32",
        2,
    )
    assert found["mlx_peak_memory"].value == pytest.approx(0.013 * 1e9 / 2**20)
    assert found["mlx_peak_memory"].unit == "MiB"


def test_mlx_statistics_of_a_generation_are_read_among_what_it_wrote() -> None:
    found = by_metric(MLX_GENERATE)
    assert found["decode_tps"].value == pytest.approx(55.449 * 23 / 24)
    assert (found["prompt_tps"].value, found["prompt_tps"].workload, found["prompt_tps"].line) == (
        104.373,
        "app p7 n24",
        6,
    )


def test_a_batch_of_mlx_is_no_decode_rate_of_ours() -> None:
    found = by_metric(MLX_BENCHMARK.replace("batch_size=1", "batch_size=4"))
    assert "decode_tps" not in found
    assert (found["batch_generation_tps"].value, found["batch_generation_tps"].workload) == (34.741, "batch 4 p64 n32")


def test_mlx_does_not_say_which_model_so_somebody_has_to() -> None:
    said = read(MLX_BENCHMARK)
    with pytest.raises(UsageError, match=r"a file, line 2: .*say --model"):
        importers.named(said, "a file")
    assert {one.model for one in importers.named(said, "a file", model="m").figures} == {"m"}


def test_lm_evals_shares_become_percent_under_our_names_with_their_standard_error() -> None:
    found = by_metric(LM_EVAL)
    assert set(found) == {"acc_toy_cloze", "acc_norm_toy_cloze"}
    one = found["acc_toy_cloze"]
    assert (one.value, one.unit, one.n, one.workload) == (25.0, "%", 8, "toy_cloze 0-shot")
    assert (one.spread, one.spread_is) == (pytest.approx(16.366, abs=1e-3), "standard error")
    assert (one.model, one.runtime, one.build) == ("a model", "dummy", "lm-eval 0.4.13")
    assert one.measured_at.startswith("2026-11-30T13:18:05")


def test_a_sample_of_a_task_is_not_called_the_task() -> None:
    part = LM_EVAL.replace('"original": 8', '"original": 80')
    assert "acc_toy_cloze_8of80" in by_metric(part)


def test_lm_evals_other_metrics_stay_as_they_are_and_what_has_no_value_is_told() -> None:
    whole = json.loads(LM_EVAL)
    whole["results"]["toy_cloze"] |= {"word_perplexity,none": 8.5, "bits_per_byte,none": 0.9, "f1,none": "N/A"}
    said = read(json.dumps(whole, indent=1))
    found = {one.metric: (one.value, one.unit) for one in said.figures}
    assert found["word_perplexity_toy_cloze"] == (8.5, "")
    assert found["bits_per_byte_toy_cloze"] == (0.9, "bit/byte")
    assert said.passed_over == ("toy_cloze f1,none: no value",)


def test_each_column_of_mlperf_client_is_a_result_of_its_own() -> None:
    said = read(MLPERF)
    shown = [(one.metric, one.value, one.unit, one.workload, one.runtime, one.device) for one in said.figures]
    assert shown == [
        ("ttft", 1.25, "s", "Overall", "WindowsML", "A card"),
        ("decode_tps", 40.5, "tok/s", "Overall", "WindowsML", "A card"),
        ("ttft", 2.5, "s", "Code Analysis", "WindowsML", "A card"),
        ("ttft", 3.75, "s", "Code Analysis", "NativeQNN", "Another chip"),
        ("decode_tps", 39.5, "tok/s", "Code Analysis", "WindowsML", "A card"),
    ]
    assert {one.model for one in said.figures} == {"Llama 3.1 8B Instruct"}
    assert said.passed_over == (
        "TPS of Code Analysis: no value",
        "Avg Expected Duration (seconds)",
        "Avg Tools Duration (seconds)",
    )


def test_optimum_benchmarks_parts_are_medians_in_our_units() -> None:
    found = {name: (one.value, one.unit, one.n) for name, one in by_metric(OPTIMUM).items()}
    assert found["load_time"] == (15.5, "s", 1)
    assert found["load_model_max_ram"] == (pytest.approx(1000), "MiB", None)
    assert found["ttft"] == (0.5, "s", 3)
    assert found["decode_latency"] == (2.0, "s", 3)
    assert found["decode_tps"] == (49.5, "tok/s", None)
    assert found["decode_energy"] == (pytest.approx(3.6), "J", None)
    said = read(OPTIMUM)
    assert said.passed_over == ("prefill throughput in samples/s", "per_token: decode says it")
    one = said.figures[0]
    assert (one.model, one.device, one.build, one.workload) == (
        "org/a-model",
        "A card",
        "pytorch 2.6.0",
        "batch 1 p128 n100",
    )


def test_several_prompts_at_once_are_no_first_token_of_a_person() -> None:
    found = by_metric(optimum(batch=8))
    assert {"ttft", "decode_tps"}.isdisjoint(found)
    assert {"prefill_latency", "decode_throughput"} <= set(found)


def test_an_older_report_without_counts_and_percentiles_gives_means() -> None:
    whole = json.loads(OPTIMUM)
    for part in whole["report"].values():
        for name in ("count", "p50", "p90", "p95", "p99"):
            part["latency"].pop(name)
    found = by_metric(json.dumps(whole, indent=4))
    assert (found["ttft"].value, found["ttft"].n, found["ttft"].statistic) == (0.5, 3, "mean")


def test_a_report_without_its_configuration_names_no_model() -> None:
    report = json.dumps(json.loads(OPTIMUM)["report"], indent=4)
    with pytest.raises(UsageError, match="say --model"):
        importers.named(read(report), "a file")


def test_naming_a_model_of_a_file_that_names_several_is_refused(data: Path) -> None:
    said = read((data / "history" / "llama-fit-bench" / "kld-results.csv").read_text())
    with pytest.raises(UsageError, match="names 7 models: --model m would make them one"):
        importers.named(said, "a file", model="m")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a file is empty"),
        (" \n", "a file is empty"),
        ("a letter\n", "of no format that is known here: say --format. Known: llama-bench-csv"),
    ],
)
def test_what_is_no_file_of_results_is_told(text: str, told: str) -> None:
    assert told in refusal(text)


def test_an_unknown_format_is_answered_with_the_nearest() -> None:
    assert "did you mean mlx-lm?" in refusal(MLX_BENCHMARK, "mlx_lm")


ROW = '{"n_prompt": 5, "n_gen": 0, "model_type": "llama 1B Q4_0", "avg_ts": 1.5}'
HEAD = "build_commit,model_type,n_prompt,n_gen,avg_ts\n"
DAMAGED = {
    "a row without its rate": ("llama-bench-jsonl", f"{ROW}\n{ROW.replace('avg_ts', 'x')}", "line 2: no avg_ts"),
    "a rate that is none": (
        "llama-bench-jsonl",
        ROW.replace("1.5", '"fast"'),
        "line 1: avg_ts is 'fast', which is no num",
    ),
    "a rate that is not finite": (
        "llama-bench-jsonl",
        ROW.replace("1.5", "NaN"),
        "line 1: avg_ts is 'nan', which is not f",
    ),
    "a row of nothing": ("llama-bench-jsonl", ROW.replace("5", "0", 1), "line 1: n_prompt and n_gen are both 0"),
    "a line that is no JSON": ("llama-bench-jsonl", f"{ROW}\n!", "line 2: no JSON"),
    "a line that is cut off": ("llama-bench-jsonl", f"{ROW}\n{ROW[:30]}", "line 2: the file is cut off"),
    "a list that is cut off": ("llama-bench-json", f"[\n{ROW},\n{ROW}\n", "line 4: the file is cut off"),
    "a list of other things": ("llama-bench-json", f"[\n{ROW},\n5]", "line 3: no JSON object, but '5'"),
    "repetitions that are none": (
        "llama-bench-json",
        f"[{ROW.replace('}', ', ' + chr(34) + 'samples_ns' + chr(34) + ': [0]}')}]",
        "line 1: samples_ns holds a repetition that took no time",
    ),
    "a CSV row with too few fields": (
        "llama-bench-csv",
        HEAD + "a,b,1,0,2\na,b,1\n",
        "line 3: 3 fields, but the header has 5",
    ),
    "a CSV that ends in a text": ("llama-bench-csv", HEAD + '"a","b', "line 2: the file is cut off"),
    "SQL that is cut off": (
        "llama-bench-sql",
        "\nINSERT INTO llama_bench (n_prompt) VALUES ('1",
        "line 2: the file is cut off",
    ),
    "SQL with too few values": (
        "llama-bench-sql",
        "INSERT INTO llama_bench (n_prompt, n_gen) VALUES ('1');",
        "line 1: 1 values for 2 names",
    ),
    "SQL of another table": (
        "llama-bench-sql",
        "INSERT INTO x (a) VALUES ('1');\n\n-- end",
        "line 1: no INSERT INTO llama_b",
    ),
    "a table row with too few cells": (
        "llama-bench-markdown",
        "| model | test | t/s |\n| --- | --- | --- |\n| m Q4_0 | pp5 |",
        "line 3: 2 cells, but the table has 3 columns",
    ),
    "a table without a rate": ("llama-bench-markdown", "| model | test | t/s |\n| m | pp5 | x |", "line 2: t/s is 'x'"),
    "a table without a test": ("llama-bench-markdown", "| model | test | t/s |\n| m |  | 5 |", "line 2: test is ''"),
    "MLX without its averages": ("mlx-lm", MLX_BENCHMARK.rsplit("Averages", 1)[0], "line 5: no line of averages"),
    "MLX without a number": ("mlx-lm", MLX_BENCHMARK.replace("20.462", "?"), "line 3: generation_tps is '?'"),
    "MLX without a trial's memory": (
        "mlx-lm",
        MLX_BENCHMARK.replace("peak_memory=0.013, total_time=2.023", ""),
        "line 3: no peak_memory",
    ),
    "lm-eval without results": ("lm-eval", '{"results": {}, "versions": {}}', "line 1: no results"),
    "lm-eval's task without a metric": (
        "lm-eval",
        '{"results":\n{"a": {"alias": "a"}},\n"versions": {}}',
        "line 2: the task a has no metric",
    ),
    "lm-eval that is cut off": ("lm-eval", LM_EVAL[:400], "the file is cut off"),
    "MLPerf without its models": ("mlperf-client-csv", MLPERF.replace("Scenario", "Scene"), "line 2: no row Scenario"),
    "MLPerf that is cut off": (
        "mlperf-client-csv",
        MLPERF.split("\n,,TTFT")[0],
        "line 8: the category Overall has no rows",
    ),
    "MLPerf with too few results": (
        "mlperf-client-csv",
        MLPERF.replace("1.25,", "1.25", 1),
        "line 9: 1 results, but the he",
    ),
    "optimum in an unknown unit": (
        "optimum-benchmark",
        OPTIMUM.replace('"MB"', '"stone"'),
        "unit 'stone' is not known",
    ),
    "a benchmark without a number": ("llama-fit-bench", "model,quant,kld\nm,Q4_0,\n", "line 2: no kld"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_is_one_message_with_the_line(what: str) -> None:
    name, text, told = DAMAGED[what]
    said = refusal(text, name)
    assert told in said
    assert said.startswith("a file, line ")
    assert said.endswith(f"(read as {name})")


@pytest.mark.parametrize("name", TEXTS)
def test_wherever_a_file_is_cut_off_it_is_refused_or_read_without_what_was_cut(name: str) -> None:
    """Never anything but our own message, and never a figure that the whole file does not say."""
    whole = {(one.metric, one.workload, one.runtime, one.value) for one in read(TEXTS[name]).figures}
    refused = 0
    for end in range(1, len(TEXTS[name].rstrip())):
        try:
            part = importers.read(TEXTS[name][:end], name, "a file").figures
        except UsageError:
            refused += 1
        else:
            assert {(one.metric, one.workload, one.runtime) for one in part} <= {one[:3] for one in whole}
    assert refused > len(TEXTS[name]) / 2


def test_what_is_no_time_and_no_count_is_not_taken_for_one() -> None:
    odd = LM_EVAL.replace("1796044685.8362055", "1e18").replace('"effective": 8', '"effective": 1' + "0" * 30)
    one = by_metric(odd)["acc_toy_cloze"]
    assert (one.measured_at, one.n) == ("", None)
    assert "line 1: n_gen is 1" in refusal(ROW.replace('"n_gen": 0', '"n_gen": 1' + "0" * 30), "llama-bench-jsonl")


def test_deeply_nested_json_is_refused() -> None:
    assert "nested too deeply" in refusal('{"results": ' + "[" * 100_000, "lm-eval")
