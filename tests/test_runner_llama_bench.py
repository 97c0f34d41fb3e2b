"""llama-bench as a runtime: its recorded outputs are read, and the tool itself runs under the sampler."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from quantfarm import metrics, toolchain
from quantfarm.errors import FarmError
from quantfarm.nouns import Cell, DeviceProfile, Recipe, Variant, metric_of
from quantfarm.runtimes import runtime
from quantfarm.runtimes.llama_bench import LlamaBench
from quantfarm.suites import workload
from tests.running import run

BEGIN = json.dumps({"event": "begin", "t": 1, "schema": 1, "runner": "llama_bench", "versions": {}})
ENDED = json.dumps({"event": "end", "t": 9, "ok": True})


def cell(**given: int | str) -> Cell:
    recipe = Recipe(source="", quantizer="as_is", quant="F16")
    return Cell(
        profile=DeviceProfile(name="here"),
        variant=Variant(model="reference", format="gguf", quant="F16", recipe=recipe),
        runtime="llama_bench",
        build="",
        workload=workload({"kind": "bench", "threads": 1, **given}, {}),
    )


@pytest.fixture
def recorded(data: Path) -> Path:
    return data / "recordings" / "llama-bench"


def test_recorded_rows_become_repetitions_in_seconds(recorded: Path) -> None:
    lines = (recorded / "llama-bench.jsonl").read_text().splitlines()
    trace = LlamaBench().parse(lines)
    row = json.loads(lines[0])
    prefill = [e for e in trace.of("prefill") if e["tokens"] == row["n_prompt"]][: len(row["samples_ns"])]
    assert [e["seconds"] for e in prefill] == [ns / 1e9 for ns in row["samples_ns"]]
    assert trace.of("decode")
    assert trace.first("loaded")["backend"] == "CPU"


def test_rows_alone_are_no_finished_run(recorded: Path) -> None:
    lines = (recorded / "llama-bench.jsonl").read_text().splitlines()
    assert not LlamaBench().parse(lines).finished


def test_rows_between_the_sampler_s_begin_and_end_are_a_finished_run(recorded: Path) -> None:
    rows = (recorded / "llama-bench.jsonl").read_text().splitlines()[:2]
    trace = LlamaBench().parse([BEGIN, *rows, ENDED])
    assert trace.finished
    pp, tg = (json.loads(row) for row in rows)
    found = metrics.measure(trace)
    for name, row in (("bench_pp", pp), ("bench_tg", tg)):
        measured = metric_of(found, name)
        assert measured
        assert measured.n == len(row["samples_ns"])
        assert min(row["samples_ts"]) * 0.9999 <= measured.value <= max(row["samples_ts"]) * 1.0001


def test_depth_is_kept(recorded: Path) -> None:
    trace = LlamaBench().parse((recorded / "llama-bench-depth-kv.jsonl").read_text().splitlines())
    depths = {e["depth"] for kind in ("prefill", "decode") for e in trace.of(kind)}
    assert max(depths) > 0


@pytest.mark.parametrize("name", ["err-missing.stdout.txt", "err-truncated.stdout.txt"])
def test_the_bracket_of_a_failed_run_is_no_row(recorded: Path, name: str) -> None:
    with pytest.raises(ValueError, match="line 1 is no llama-bench row"):
        LlamaBench().parse((recorded / name).read_text().splitlines())


def test_an_end_without_a_row_is_a_failure() -> None:
    trace = LlamaBench().parse([BEGIN, ENDED])
    assert not trace.finished
    assert "no row" in trace.events[-1]["error"]


def test_a_cut_row_is_named() -> None:
    with pytest.raises(ValueError, match="line 2 is no llama-bench row"):
        LlamaBench().parse([BEGIN, '{"build_commit": "Debian", "samples_ns": [327', ENDED])


def test_only_bench_cells_can_be_run_by_it() -> None:
    assert LlamaBench().workloads == {"bench"}


def test_the_command_sets_every_context_parameter() -> None:
    command = LlamaBench().command(cell(n_depth=16), {"model": "m.gguf", "llama-bench": "/bin/llama-bench"})
    pairs = dict(pairwise(command))
    expected = {"-m": "m.gguf", "-p": "512", "-n": "128", "-d": "16", "-r": "5", "-t": "1", "-fa": "on", "-o": "jsonl"}
    expected |= {"-b": "2048", "-ub": "512", "-ctk": "f16", "-ctv": "f16", "-ngl": "0", "-dev": "none"}
    assert {option: pairs[option] for option in expected} == expected


@pytest.fixture
def tool() -> str:
    try:
        return str(toolchain.tool("llama-bench"))
    except FarmError as error:
        pytest.skip(str(error))


def test_the_tool_measures_the_reference_model(tool: str, reference: Path) -> None:
    asked = cell(n_prompt=32, n_gen=8, repetitions=2)
    under = runtime("llama_bench")
    ran = run(under.command(asked, {"model": str(reference), "llama-bench": tool}))
    trace = under.parse(ran.lines)
    assert trace.finished
    found = metrics.measure(trace)
    for name in ("bench_pp", "bench_tg"):
        measured = metric_of(found, name)
        assert measured
        assert measured.n == 2
        assert measured.value > 0


def test_the_tool_s_failure_is_a_failed_run_with_its_last_words(tool: str) -> None:
    asked = cell(n_prompt=32, n_gen=8, repetitions=2)
    under = runtime("llama_bench")
    ran = run(under.command(asked, {"model": "/nowhere/model.gguf", "llama-bench": tool}))
    assert ran.code != 0
    trace = under.parse(ran.lines)
    assert not trace.finished
    assert "failed to load model" in trace.events[-1]["error"]
