"""The view of quality: what each size costs, which text it was measured on, and task by task against the base."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from storage.home import Home
from storage.ingest import ingest
from tests.dashboard.filling import ask, fill
from tests.dashboard.showing import show, words
from tests.storing import APP, PHONE, cell, launches


def plain(said: str) -> str:
    return said.replace("\\", "")


def test_the_cliff_or_its_absence_is_said_first(home: Path) -> None:
    fill(home)
    assert "quality cliff" in words(show(home, "quality"))


def test_which_text_and_how_many_chunks_stand_under_the_plot(home: Path) -> None:
    fill(home)
    said = plain(words(show(home, "quality")))
    assert "text eeeeeeeeeeee, 2 chunks, 6 tokens scored" in said
    assert "laptop (N100)" in said and "llama-cpp-python 0.3.36" in said


def test_tasks_stand_against_the_unquantized_model_paired_by_document(home: Path) -> None:
    fill(home)
    ask(home, "F16", [True] * 16 + [False] * 4)
    ask(home, "Q2_K", [False] * 8 + [True] * 8 + [False] * 4)
    shown = show(home, "quality")
    said = plain(words(shown))
    assert "F16 (llama_cpp): 80.0 (70.0–90.0) %, 20 documents" in said and "McNemar" in said
    row = next(one.value for one in shown.dataframe if "McNemar p" in one.value.columns).iloc[0]
    assert (row["variant"], row["against"], row["McNemar p"], row["only that right"]) == ("Q2_K", "F16", "0.008", 8)
    assert row["difference (95 %)"].startswith("-40.0 (")


def test_a_task_that_was_asked_in_part_is_marked(home: Path) -> None:
    fill(home)
    ask(home, "F16", [True] * 20, of=2376)
    ask(home, "Q2_K", [True] * 10 + [False] * 10, of=2376)
    said = plain(words(show(home, "quality")))
    assert "ONLY 20 OF 2,376" in said and "not the benchmark's score" in said


def test_a_task_without_the_unquantized_models_answers_says_so(home: Path) -> None:
    fill(home)
    ask(home, "Q2_K", [True] * 20)
    assert "no unquantized model's answers to pair with" in plain(words(show(home, "quality")))


def test_accuracy_and_divergence_can_be_what_is_shown(home: Path) -> None:
    fill(home)
    ask(home, "F16", [True] * 20)
    assert "KL divergence by size" in words(show(home, "quality", quality="kld_mean"))
    assert r"Arc\_easy acc by size" in words(show(home, "quality", quality="acc_arc_easy"))


def test_without_a_quality_it_says_what_to_measure(home: Path) -> None:
    launches(Home(home), "decode_tps", [1.0], cell(workload=APP))
    ingest(Home(home))
    assert "quantfarm sweep --model reference --suite lab" in words(show(home, "quality"))


def test_a_simulated_device_is_marked(home: Path) -> None:
    fill(home, replace(PHONE, simulated=True))
    assert "Simulated device" in words(show(home, "quality"))
