"""Candidates: what is compared was measured in the same way, and where each figure is from can be told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quantfarm.candidates import Candidate
from quantfarm.errors import UsageError
from quantfarm.nouns import Measurement, Workload, parameters
from storage.candidates import candidates
from storage.home import Home
from storage.ingest import ingest
from storage.reading import Reader
from tests.storing import APP, BENCH, FAILED, LINES, PHONE, QUALITY, cell, chunk, landed, launches, put, tokens

DEEP = Workload(kind="bench", parameters=parameters(n_prompt=512, n_gen=128, n_depth=4096))


@pytest.fixture
def farm(home: Path) -> Home:
    return Home(home)


def found(farm: Home, **asked: str) -> list[Candidate]:
    ingest(farm)
    with Reader(farm) as reader:
        return candidates(reader, **asked)


def ppl(value: float, n: int = 510) -> Measurement:
    return Measurement(metric="ppl", value=value, unit="", n=n, low=value - 1, high=value + 1)


def test_a_candidate_has_its_figures_launches_units_and_workloads(farm: Home) -> None:
    launches(farm, "bench_tg", [3.0, 1.0, 2.0], os="Debian 12")
    put(farm, landed(cell(workload=QUALITY), figures=[ppl(9.0)]))
    (one,) = found(farm)
    assert (one.device, one.model, one.variant, one.runtime) == ("laptop", "reference", "Q4_K_M", "llama_cpp")
    assert (one.size, one.bits_per_weight, one.types, one.fallbacks) == (1000, 4.8, {"Q4_K": 3}, ("x",))
    assert one.value("bench_tg") == 2.0
    assert one.launches["bench_tg"] == (3.0, 1.0, 2.0)
    assert one.units["bench_tg"] == "tok/s"
    assert one.workloads == {"bench_tg": "bench pp512 tg128", "ppl": "quality 2×512"}
    assert (one.figures["ppl"].low, one.figures["ppl"].high, one.figures["ppl"].n) == (8.0, 10.0, 510)
    assert one.conditions == {"os": "Debian 12", "measured_at": "2025-03-01T12:00:00Z"}
    assert one.failures == ()
    assert one.reproduce == "quantfarm sweep --model reference --quants Q4_K_M --devices laptop --fresh"


def test_chunks_are_in_order_with_their_text(farm: Home) -> None:
    lines = [LINES[0], tokens("dd" * 32), chunk(1, [0.5, 0.25, 3.0]), chunk(0, [1.0, 2.0]), LINES[-1]]
    put(farm, landed(cell(workload=QUALITY), figures=[ppl(9.0)]), lines)
    (one,) = found(farm)
    assert (one.chunk_nll, one.chunk_tokens, one.text_sha256) == ((3.0, 3.75), (2, 3), "dd" * 32)


def test_quality_measured_on_one_device_counts_for_all_with_the_same_file_and_runtime(farm: Home) -> None:
    launches(farm, "decode_tps", [3.0], cell(workload=APP, profile=PHONE))
    launches(farm, "decode_tps", [9.0], cell(workload=APP, profile=PHONE, quant="Q8_0"))
    put(farm, landed(cell(workload=QUALITY), figures=[ppl(9.0)]))
    four, eight = sorted(found(farm, device="phone"), key=lambda c: c.variant)
    assert (four.value("ppl"), four.remarks["ppl"]) == (9.0, "measured on laptop")
    assert len(four.chunk_nll) == 2
    assert eight.value("ppl") is None  # another file


def test_a_devices_own_quality_comes_before_anothers(farm: Home) -> None:
    put(farm, landed(cell(workload=QUALITY), figures=[ppl(9.0)], started_at="2025-03-02T00:00:00Z"))
    put(farm, landed(cell(workload=QUALITY, profile=PHONE), figures=[ppl(9.5)], started_at="2025-03-01T00:00:00Z"))
    assert {c.device: c.value("ppl") for c in found(farm)} == {"laptop": 9.0, "phone": 9.5}


def test_quality_by_another_build_counts_and_says_so(farm: Home) -> None:
    launches(farm, "decode_tps", [3.0], cell(workload=APP, profile=PHONE, build="phone build 2"))
    put(farm, landed(cell(workload=QUALITY), figures=[ppl(9.0)]))
    (one,) = found(farm, device="phone")
    assert one.remarks["ppl"] == "measured on laptop by llama-cpp-python 0.3.36"


def test_of_several_builds_the_newest_by_time_is_used_not_the_largest_name(farm: Home) -> None:
    launches(farm, "bench_tg", [1.0], cell(build="z 9"), started_at="2025-01-01T00:00:00Z")
    launches(farm, "bench_tg", [2.0], cell(build="a 10"), started_at="2025-01-02T00:00:00Z")
    (one,) = found(farm)
    assert (one.build, one.value("bench_tg")) == ("a 10", 2.0)


def test_files_made_by_different_recipes_are_never_mixed(farm: Home) -> None:
    launches(farm, "bench_tg", [1.0], cell(source="aa" * 32), started_at="2025-01-01T00:00:00Z")
    launches(farm, "bench_tg", [2.0], cell(source="bb" * 32), started_at="2025-01-02T00:00:00Z")
    (one,) = found(farm)
    assert one.launches["bench_tg"] == (2.0,)


def test_a_speed_at_depth_zero_comes_before_one_at_depth_however_often_measured(farm: Home) -> None:
    launches(farm, "bench_tg", [1.0, 1.0, 1.0], cell(workload=DEEP))
    launches(farm, "bench_tg", [5.0], cell(workload=BENCH))
    (one,) = found(farm)
    assert (one.value("bench_tg"), one.workloads["bench_tg"]) == (5.0, "bench pp512 tg128")


def test_a_speed_of_the_usual_context_comes_before_those_along_an_axis(farm: Home) -> None:
    for unusual in ({"flash_attn": "off"}, {"type_k": "q8_0"}, {"n_ubatch": 64}, {"threads": 1}, {"n_gpu_layers": 99}):
        along = Workload(kind="bench", parameters=parameters(BENCH.settings, **unusual))
        launches(farm, "bench_tg", [9.0, 9.0], cell(workload=along))
    launches(farm, "bench_tg", [5.0], cell(workload=BENCH))
    (one,) = found(farm)
    assert (one.value("bench_tg"), one.workloads["bench_tg"]) == (5.0, "bench pp512 tg128")


def test_a_speed_at_depth_is_used_where_there_is_no_other(farm: Home) -> None:
    launches(farm, "bench_tg", [1.0], cell(workload=DEEP))
    (one,) = found(farm)
    assert one.workloads["bench_tg"] == "bench pp512 tg128 d4096"


def test_all_variants_take_a_metric_from_the_workload_that_most_of_them_have(farm: Home) -> None:
    for quant, bench, app in (("Q4_K_M", 3, 1), ("Q5_K_M", 0, 2), ("Q8_0", 0, 2)):
        launches(farm, "resident_peak", [10.0] * bench, cell(workload=BENCH, quant=quant))
        launches(farm, "resident_peak", [20.0] * app, cell(workload=APP, quant=quant))
    assert {c.variant: c.workloads["resident_peak"] for c in found(farm)} == dict.fromkeys(
        ("Q4_K_M", "Q5_K_M", "Q8_0"), "app p128 n64"
    )


def test_memory_measured_by_both_is_that_of_the_app_when_all_else_is_equal(farm: Home) -> None:
    launches(farm, "resident_peak", [10.0], cell(workload=BENCH))
    launches(farm, "resident_peak", [20.0], cell(workload=APP))
    (one,) = found(farm)
    assert one.workloads["resident_peak"] == "app p128 n64"


def test_perplexity_over_more_of_the_text_is_used_when_both_cover_the_same_variants(farm: Home) -> None:
    put(farm, landed(cell(workload=QUALITY), figures=[ppl(9.0, 510)]))
    whole = Workload(kind="quality", parameters=parameters(n_ctx=512, n_chunks=None))
    put(farm, landed(cell(workload=whole), figures=[ppl(8.0, 51_000)]))
    (one,) = found(farm)
    assert (one.value("ppl"), one.workloads["ppl"]) == (8.0, "quality all×512")


def test_failures_without_a_good_attempt_are_told_once_with_their_number(farm: Home) -> None:
    launches(farm, "bench_tg", [1.0])
    for n in range(3):
        put(farm, landed(cell(n, APP), outcome=FAILED))
    put(farm, landed(cell(9, APP), 1, replace(FAILED, reason="made good later")))
    put(farm, landed(cell(9, APP), 2, figures={"decode_tps": 1.0}))
    (one,) = found(farm)
    assert one.failures == ("app: load: out of memory (3 launches)",)


def test_a_variant_that_only_failed_is_a_candidate_without_figures(farm: Home) -> None:
    put(farm, landed(cell(), outcome=FAILED))
    (one,) = found(farm)
    assert one.figures == {}
    assert one.failures == ("bench: load: out of memory",)


def test_an_invalid_figure_is_left_out_and_told(farm: Home) -> None:
    bad = Measurement(metric="bench_tg", value=99.0, unit="tok/s", remark="invalid: 9 major page faults")
    put(farm, landed(cell(), figures=[bad]))
    (one,) = found(farm)
    assert one.value("bench_tg") is None
    assert one.failures == ("bench: bench_tg: invalid: 9 major page faults; no 95 % interval below 6 launches",)


def test_simulated_devices_stay_marked(farm: Home) -> None:
    launches(farm, "bench_tg", [1.0], cell(profile=replace(PHONE, simulated=True)))
    assert [c.simulated for c in found(farm)] == [True]


def test_an_unknown_device_or_model_is_answered_with_suggestions(farm: Home) -> None:
    launches(farm, "bench_tg", [1.0])
    with pytest.raises(UsageError, match="unknown device 'lapptop' in the results: did you mean laptop"):
        found(farm, device="lapptop")
    with pytest.raises(UsageError, match="unknown model 'refrence' in the results: did you mean reference"):
        found(farm, model="refrence")
