"""llama-bench's five formats, recorded from one build, say the same things here, and go out again as they came in."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantfarm.errors import UsageError
from quantfarm.exchange import importers, llama_bench_out
from quantfarm.exchange.figure import Figure, Reading
from quantfarm.exchange.llama_bench import split
from quantfarm.exchange.llama_bench_out import Bench, row, text
from quantfarm.statistics.summary import summarise

FORMATS = {
    "llama-bench.json": "llama-bench-json",
    "llama-bench.jsonl": "llama-bench-jsonl",
    "llama-bench.sql": "llama-bench-sql",
    "llama-bench.csv": "llama-bench-csv",
    "llama-bench.md": "llama-bench-markdown",
}
ASKED = ["bench pp64 t1", "bench tg32 t1", "bench pp32+tg16 t1"] * 2


@pytest.fixture(scope="module")
def recordings(data: Path) -> Path:
    return data / "recordings" / "llama-bench"


def read(path: Path) -> Reading:
    said = path.read_text()
    return importers.read(said, importers.recognise(said, path.name), path.name)


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_recognised_and_says_the_same_of_what_ran(recordings: Path, name: str) -> None:
    assert importers.recognise((recordings / name).read_text(), name) == FORMATS[name]
    found = read(recordings / name)
    assert [one.workload for one in found.figures] == ASKED
    assert [one.metric for one in found.figures] == ["bench_pp", "bench_tg", "bench_pg"] * 2
    assert [one.variant for one in found.figures] == ["F32"] * 3 + ["Q8_0"] * 3
    assert {(one.unit, one.build, one.spread_is) for one in found.figures} == {
        ("tok/s", "Debian (11669)", "standard deviation")
    }
    assert (found.tool, found.version) == ("llama-bench", "Debian (11669)")
    markdown = name.endswith(".md")
    assert found.devices == (() if markdown else ("AMD EPYC",))
    assert found.figures[0].model == ("llama ?B" if markdown else "stories260K")


def test_a_figure_is_the_median_of_the_repetitions_where_they_are_there_else_the_files_mean(
    recordings: Path,
) -> None:
    """samples_ts of the first row: 19871.6, 19300.8, 19862."""
    json_figure, csv_figure = (read(recordings / f"llama-bench.{kind}").figures[0] for kind in ("json", "csv"))
    assert json_figure.value == pytest.approx(64 / 3222231e-9)
    assert (json_figure.statistic, json_figure.n, json_figure.spread) == ("median", 3, 326.836638)
    with (recordings / "llama-bench.csv").open() as file:
        said = next(csv.DictReader(file))
    assert (csv_figure.value, csv_figure.statistic, csv_figure.n) == (float(said["avg_ts"]), "mean", None)


def test_each_figure_knows_its_line(recordings: Path) -> None:
    lines = (recordings / "llama-bench.json").read_text().split("\n")
    assert [lines[one.line - 1] for one in read(recordings / "llama-bench.json").figures] == ["  {"] * 6
    assert [one.line for one in read(recordings / "llama-bench.jsonl").figures] == [1, 2, 3, 4, 5, 6]
    sql = (recordings / "llama-bench.sql").read_text().split("\n")
    assert all(sql[one.line - 1].startswith("INSERT") for one in read(recordings / "llama-bench.sql").figures)


def test_depth_is_part_of_what_was_asked(recordings: Path) -> None:
    assert [one.workload for one in read(recordings / "llama-bench-depth-kv.jsonl").figures][1:3] == [
        "bench tg16 t1",
        "bench pp64 d128 t1",
    ]


def test_tables_that_people_posted_are_read_with_the_device_above_and_the_build_below_each(recordings: Path) -> None:
    figures = read(recordings / "llama-bench-tables.md").figures
    assert len(figures) == 20
    by_device = Counter((one.device, one.build) for one in figures)
    assert by_device == {
        ("", ""): 14,
        ("QUALCOMM Adreno", "f79069d9d (9050)"): 2,
        ("NVIDIA GeForce RTX 3080", "c6328bc0 (3677)"): 4,
    }
    last = figures[-1]
    assert (last.model, last.variant, last.workload, last.value) == (
        "llama ?B",
        "Q4_K_M",
        "bench tg128 ngl99 t8",
        1904.55,
    )
    assert last.extra["size_mib"] == 72.74
    assert next(one for one in figures if one.extra.get("size_mib") == 2.30 * 1024).variant == "F16"


def test_an_older_table_with_spaces_in_its_tests_is_read() -> None:
    rows = ("| model | test | t/s |", "| --- | --- | --- |", "| m | pp 512 | 50.5 ± 1.5 |", "| m | tg 128 | 5 |")
    found = importers.read("\n".join(rows), "llama-bench-markdown", "a file").figures
    assert [(one.workload, one.value, one.spread) for one in found] == [
        ("bench pp512", 50.5, 1.5),
        ("bench tg128", 5, None),
    ]


def test_a_llama_bench_that_failed_is_told_as_such(recordings: Path) -> None:
    for name in ("err-missing.stdout.txt", "err-truncated.stdout.txt"):
        with pytest.raises(UsageError, match="line 1: only '\\[': a llama-bench that failed"):
            read(recordings / name)


def test_the_868_rows_of_a_gpu_and_their_divergences_are_read(data: Path) -> None:
    folder = data / "history" / "llama-fit-bench"
    speeds, divergences = read(folder / "fit-bench-results.csv").figures, read(folder / "kld-results.csv").figures
    assert Counter(one.metric for one in speeds) == {"bench_pp": 868, "bench_tg": 868}
    assert {(one.n, one.spread_is, one.unit) for one in speeds} == {(20, "standard deviation", "tok/s")}
    assert len({one.model for one in speeds}) == 29
    assert Counter((one.metric, one.unit) for one in divergences) == {("kld", "nat"): 142}
    assert len({(one.model, one.variant, one.workload) for one in speeds}) > 868  # told apart by what was asked
    first = speeds[0]
    assert (first.model, first.variant, first.value, first.spread) == (
        "Qwen3.5-0.8B",
        "Q4_K_M (unsloth)",
        15278.7,
        70.7,
    )


@pytest.mark.parametrize(
    ("described", "told"),
    [
        ("llama 8B Q4_K - Medium", ("llama 8B", "Q4_K_M")),
        ("qwen3moe 30B.A3B Q3_K - Large", ("qwen3moe 30B.A3B", "Q3_K_L")),
        ("llama ?B all F32", ("llama ?B", "F32")),
        ("gemma 2B BF16", ("gemma 2B", "BF16")),
        ("llama 7B IQ2_XS - 2.3125 bpw", ("llama 7B", "IQ2_XS")),
        ("gpt-oss 20B MXFP4 MoE", ("gpt-oss 20B", "MXFP4")),
        ("llama 7B Q6_K (guessed)", ("llama 7B", "Q6_K")),
        ("something else", ("something else", "")),
    ],
)
def test_llama_cpps_words_for_a_quantization_are_ours(described: str, told: tuple[str, str]) -> None:
    assert split(described) == told


names = st.text(min_size=1, max_size=20).filter(lambda text: text == text.strip() and text.isprintable())
benches = st.builds(
    Bench,
    prefill=st.booleans(),
    tokens=st.integers(1, 100_000),
    depth=st.integers(0, 1_000_000),
    samples_ns=st.lists(st.integers(1, 10**14), min_size=1, max_size=9),
    chip=st.text(max_size=20),
    started_at=st.just("2026-11-30T13:21:09Z"),
    about=st.fixed_dictionaries(dict.fromkeys(("device", "model", "variant", "runtime", "build", "cell"), names)),
    settings=st.fixed_dictionaries(
        {
            "n_batch": st.sampled_from([512, 2048]),
            "threads": st.integers(1, 64),
            "flash_attn": st.sampled_from(["on", "off"]),
        }
    ),
)


@settings(deadline=None)
@given(st.lists(benches, min_size=1, max_size=4))
def test_what_goes_out_as_llama_bench_comes_in_again_as_the_same_figures(out: list[Bench]) -> None:
    read_again = importers.read(text(out), "llama-bench-jsonl", "a file").figures
    assert [_who(one) for one in read_again] == [tuple(bench.about[name] for name in WHO) for bench in out]
    for bench, one in zip(out, read_again, strict=True):
        rates = [bench.tokens / (ns / 1e9) for ns in bench.samples_ns]
        assert one.metric == ("bench_pp" if bench.prefill else "bench_tg")
        assert (one.value, one.n, one.unit) == (summarise(rates).value, len(rates), "tok/s")


WHO = ("device", "model", "variant", "runtime", "build")


def _who(figure: Figure) -> tuple[str, ...]:
    return tuple(getattr(figure, name) for name in WHO)


def bench(build: str = "llama-cpp-python 0.3.36", ns: tuple[int, ...] = (2_000_000_000, 4_000_000_000), **conditions):
    about = dict.fromkeys((*WHO, "cell"), "x") | {"model": "reference", "variant": "Q4_K_M", "build": build}
    asked = {"n_batch": 2048, "n_ubatch": 512, "threads": 2, "flash_attn": "on", "n_gpu_layers": 0}
    return Bench(
        prefill=False, tokens=16, depth=0, samples_ns=ns, chip="a chip", started_at="2026-11-30T13:21:09Z", about=about,
        settings=asked, conditions=conditions,
    )  # fmt: skip


def test_every_field_of_llama_bench_is_there_with_its_own_means_and_deviations(recordings: Path) -> None:
    made = row(bench())
    theirs = json.loads((recordings / "llama-bench.jsonl").read_text().split("\n")[0])
    assert set(theirs) <= set(made)
    assert (made["n_prompt"], made["n_gen"], made["avg_ts"], made["samples_ts"]) == (0, 16, 6.0, [8.0, 4.0])
    assert made["stddev_ts"] == pytest.approx(8**0.5, abs=1e-6)  # of a sample: divided by n - 1
    assert (made["avg_ns"], made["stddev_ns"]) == (3_000_000_000, 1_414_213_562)
    again = row(bench(ns=tuple(theirs["samples_ns"])))
    assert again["avg_ns"] == theirs["avg_ns"]


def test_what_is_not_known_is_empty_or_null_and_not_made_up() -> None:
    made = row(bench())
    assert [made[name] for name in ("gpu_info", "cpu_mask", "split_mode", "load_mode")] == [""] * 4
    assert (made["model_size"], made["model_n_params"], made["build_number"]) == (None, None, 0)
    told = row(
        bench(
            versions={"llama-bench": "f79069d9d (9050)"}, backend="CPU",
            model={"description": "llama ?B Q4_K - Medium", "size": 5, "n_params": 7},
        )
    )  # fmt: skip
    assert (told["build_commit"], told["build_number"], told["backends"]) == ("f79069d9d", 9050, "CPU")
    assert (told["model_type"], told["model_size"], told["model_n_params"]) == ("llama ?B Q4_K - Medium", 5, 7)


#: By which llama.cpp's compare-llama-bench says that two rows are of the same thing.
KEYS = (
    *("cpu_info", "gpu_info", "backends", "n_gpu_layers", "tensor_buft_overrides", "model_filename", "model_type"),
    *("n_batch", "n_ubatch", "embeddings", "cpu_mask", "cpu_strict", "poll", "n_threads", "type_k", "type_v"),
    *(
        "use_mmap",
        "no_kv_offload",
        "split_mode",
        "main_gpu",
        "tensor_split",
        "flash_attn",
        "n_prompt",
        "n_gen",
        "n_depth",
    ),
)


def test_two_builds_can_be_compared_by_equality_as_compare_llama_bench_does() -> None:
    """It puts the rows into SQLite and joins them: a null would be equal to nothing."""
    rows = [row(bench()), row(bench("llama-cpp-python 0.3.37", (1_000_000_000, 2_000_000_000)))]
    columns = (*KEYS, "build_commit", "test_time", "avg_ts")
    table = sqlite3.connect(":memory:")
    table.execute(f"CREATE TABLE b ({', '.join(columns)})")
    table.executemany(
        f"INSERT INTO b VALUES ({', '.join('?' * len(columns))})",  # noqa: S608
        [[one[name] for name in columns] for one in rows],
    )
    equal = " AND ".join(f"x.{name} = y.{name}" for name in KEYS)
    found = table.execute(
        f"SELECT x.avg_ts, y.avg_ts FROM b x JOIN b y ON {equal} AND x.build_commit < y.build_commit"  # noqa: S608
    ).fetchall()
    table.close()
    assert found == [(6.0, 12.0)]


def test_the_fields_are_named_once() -> None:
    assert len(set(llama_bench_out.FIELDS)) == len(llama_bench_out.FIELDS)
