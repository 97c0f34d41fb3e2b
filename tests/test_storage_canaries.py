"""A device that computes wrongly has no speeds: its canary is compared with the judge's same chunks."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantfarm.nouns import Cell, Measurement, Outcome, State, Workload, parameters
from storage.candidates import candidates
from storage.home import Home
from storage.ingest import ingest, rebuild
from storage.reading import Reader
from storage.results import results
from tests.storing import LAPTOP, LINES, PHONE, cell, chunk, landed, launches, put, tokens

WHOLE = Workload(kind="quality", parameters=parameters(n_ctx=512, n_chunks=6))
CANARY = Workload(kind="quality", parameters=parameters(n_ctx=512, n_chunks=4, canary=True))
NLL = (2.0, 2.2, 1.9, 2.1, 9.0, 9.0)  # of each token of a chunk: the later chunks are harder
WRONG = "this device's backend computes wrongly"


@pytest.fixture
def farm(home: Path) -> Home:
    return Home(home)


def quality(farm: Home, of: Cell, off: float = 1.0, text: str = "ee" * 32, attempt: int = 1) -> None:
    """A perplexity with its chunks, each nll `off` times what it should be."""
    n_chunks = int(of.workload.settings["n_chunks"] or 0)
    chunks = [[off * nll] * 2 for nll in NLL[:n_chunks]]
    value = math.exp(sum(sum(one) for one in chunks) / (2 * n_chunks))
    figure = Measurement(metric="ppl", value=value, unit="", n=2 * n_chunks)
    lines = [LINES[0], tokens(text, n_chunks), *(chunk(at, nll) for at, nll in enumerate(chunks)), LINES[-1]]
    at = f"2025-03-0{attempt}T12:00:00+00:00"
    put(farm, landed(of, attempt, figures=[figure], started_at=at), lines)


def on_phone(**more: Any) -> Cell:
    return cell(workload=CANARY, profile=PHONE, **more)


def speeds(farm: Home, device: str = "phone") -> list[dict]:
    ingest(farm)
    with Reader(farm) as reader:
        return [row for row in results(reader, device=device) if row["metric"] == "bench_tg"]


def judged(farm: Home) -> None:
    """The laptop has the perplexity of the whole text; both have speeds."""
    quality(farm, cell(workload=WHOLE))
    launches(farm, "bench_tg", [40.0, 41.0])
    launches(farm, "bench_tg", [10.0, 11.0], cell(profile=PHONE))


def test_speeds_of_a_device_whose_canary_disagrees_are_invalid_with_the_reason(farm: Home) -> None:
    judged(farm)
    quality(farm, on_phone(), off=1.08)
    (row,) = speeds(farm)
    assert not row["valid"]
    assert row["value"] == 10.5, "what was measured is still shown"
    ours, theirs = math.exp(1.08 * 2.05), math.exp(2.05)
    said = f"canary: perplexity {ours:.6g} over 4 chunks, {theirs:.6g} on laptop: {WRONG}"
    assert row["reason"].startswith(f"invalid: {said}")
    assert all(row["valid"] for row in speeds(farm, "laptop")), "who judges is not judged"


def test_it_decides_nothing_and_says_why(farm: Home) -> None:
    judged(farm)
    quality(farm, on_phone(), off=1.08)
    ingest(farm)
    with Reader(farm) as reader:
        laptop, phone = candidates(reader)
    assert (laptop.value("bench_tg"), phone.value("bench_tg")) == (40.5, None)
    assert WRONG in " ".join(phone.failures)
    assert phone.value("ppl") == laptop.value("ppl"), "the file's quality is what it is"


def test_what_backends_differ_by_is_no_fault(farm: Home) -> None:
    judged(farm)
    quality(farm, on_phone(), off=1 + 0.0009 / 2.05)
    assert speeds(farm)[0]["valid"]


def test_the_same_chunks_are_compared(farm: Home) -> None:
    """The whole text's perplexity is another one: its later chunks are harder."""
    judged(farm)
    quality(farm, on_phone())
    assert speeds(farm)[0]["valid"]


def test_a_canary_is_never_the_quality_of_its_file(farm: Home) -> None:
    judged(farm)
    quality(farm, on_phone())
    for quant in ("Q8_0", "Q6_K"):  # most variants have a canary alone
        quality(farm, on_phone(quant=quant))
        launches(farm, "bench_tg", [9.0], cell(profile=PHONE, quant=quant))
    ingest(farm)
    with Reader(farm) as reader:
        found = {(one.device, one.variant): one for one in candidates(reader)}
        rows = [row for row in results(reader, device="phone") if row["metric"] == "ppl"]
    assert found["phone", "Q4_K_M"].workloads["ppl"] == "quality 6×512"
    assert found["phone", "Q8_0"].value("ppl") is None
    assert {row["workload"] for row in rows} == {"canary 4×512"}


def test_a_canary_without_a_judge_says_so(farm: Home) -> None:
    launches(farm, "bench_tg", [10.0], cell(profile=PHONE))
    quality(farm, on_phone())
    assert speeds(farm)[0]["valid"]
    with Reader(farm) as reader:
        (row,) = [row for row in results(reader) if row["metric"] == "ppl"]
    assert row["valid"]
    assert "nothing to compare it with" in row["reason"]


@pytest.mark.parametrize(
    "other",
    [
        {"quant": "Q8_0"},
        {"build": "llama-cpp-python 0.3.35"},
    ],
    ids=["another file", "another build of the runtime"],
)
def test_it_speaks_for_its_own_file_and_build_alone(farm: Home, other: dict) -> None:
    judged(farm)
    launches(farm, "bench_tg", [20.0], cell(profile=PHONE, **other))
    quality(farm, on_phone(), off=1.08)
    assert sorted((row["value"], row["valid"]) for row in speeds(farm)) == [(10.5, False), (20.0, True)]


def test_another_text_is_not_compared(farm: Home) -> None:
    judged(farm)
    quality(farm, on_phone(), off=1.08, text="aa" * 32)
    assert speeds(farm)[0]["valid"]


def test_the_newest_canary_counts(farm: Home) -> None:
    """A driver was mended, and it was measured again."""
    judged(farm)
    quality(farm, on_phone(), off=1.08)
    quality(farm, on_phone(), attempt=2)
    assert speeds(farm)[0]["valid"]


def test_a_canary_that_is_no_number_is_wrong_and_one_that_could_not_run_says_nothing(farm: Home) -> None:
    judged(farm)
    put(farm, landed(on_phone(), outcome=Outcome(state=State.FAILED, stage="load", reason="out of memory")))
    assert speeds(farm)[0]["valid"]
    reason = "not a number: ppl"
    put(farm, landed(on_phone(), 2, outcome=Outcome(state=State.FAILED, stage="parse", reason=reason)))
    (row,) = speeds(farm)
    assert (row["valid"], row["reason"].startswith(f"invalid: canary: {reason}")) == (False, True)


def test_a_perplexity_of_many_chunks_that_disagrees_is_invalid_itself(farm: Home) -> None:
    judged(farm)
    quality(farm, cell(workload=WHOLE, profile=PHONE), off=1.08, attempt=2)
    assert not speeds(farm)[0]["valid"]
    with Reader(farm) as reader:
        assert [one.value("ppl") for one in candidates(reader)] == [pytest.approx(math.exp(sum(NLL) / 6))] * 2


def test_simulated_devices_neither_judge_nor_are_judged(farm: Home) -> None:
    launches(farm, "bench_tg", [10.0], cell(profile=PHONE))
    quality(farm, cell(workload=WHOLE, profile=replace(LAPTOP, simulated=True)))
    quality(farm, on_phone(), off=1.08)
    assert speeds(farm)[0]["valid"]


def test_it_survives_a_rebuild_and_needs_nothing_that_old_rows_have_not(farm: Home) -> None:
    judged(farm)
    quality(farm, on_phone(), off=1.08)
    before = speeds(farm)
    rebuild(farm)
    assert speeds(farm) == before
    assert not before[0]["valid"]
