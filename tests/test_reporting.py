"""What the farm writes of itself from its store: which documents, with what, and all of them or none."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from flows import reporting
from flows.reporting import Document
from quantfarm.errors import UsageError
from quantfarm.nouns import Measurement
from storage.artifacts import Artifacts
from storage.home import Home
from storage.ingest import ingest
from tests.storing import APP, QUALITY, cell, landed, launches, put, recipe

QUANTS = ("F16", "Q4_K_M", "Q2_K")


@pytest.fixture
def store(home: Path, tmp_path: Path) -> Home:
    """Three variants measured on a laptop; one of them made here."""
    there = Home(home)
    for n, quant in enumerate(QUANTS):
        launches(there, "decode_tps", [40.0 + 10 * n + 0.1 * k for k in range(6)], cell(workload=APP, quant=quant))
        launches(there, "resident_peak", [900.0 - 100 * n] * 6, cell(quant=quant))
        ppl = Measurement(metric="ppl", value=8.0 + n, unit="", n=5, low=7.9 + n, high=8.1 + n)
        put(there, landed(cell(workload=QUALITY, quant=quant), figures=[ppl]))
    (made := tmp_path / "made.gguf").write_bytes(b"weights")
    Artifacts(there).adopt(made, recipe("Q4_K_M"), bits_per_weight=4.8)
    ingest(there)
    return there


def names(paths: list[Path], folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in paths}


def test_all_documents_are_written_with_every_plot_that_they_show(store: Home, tmp_path: Path) -> None:
    out = tmp_path / "out"
    paths = reporting.write(store, out)
    assert paths[0] == out / "BENCHMARK.md" and {path for path in out.rglob("*") if path.is_file()} == set(paths)
    assert {"WRITEUP.md", *(f"model_cards/reference/{quant}.md" for quant in QUANTS)} <= names(paths, out)
    for document in ("BENCHMARK.md", "WRITEUP.md"):
        shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (out / document).read_text())
        assert shown and set(shown) <= names(paths, out)


def test_only_the_documents_asked_for_are_written(store: Home) -> None:
    def kinds(*documents: Document) -> set[str]:
        return {name.partition("/")[0] for name in reporting.render(store, None, None, documents)}

    assert kinds(Document.BENCHMARK) == {"BENCHMARK.md", "docs"}
    assert kinds(Document.CARDS) == {"model_cards"}
    assert kinds(Document.WRITEUP) == {"WRITEUP.md", "docs"}
    assert kinds(*Document) == {"BENCHMARK.md", "WRITEUP.md", "model_cards", "docs"}


def test_a_device_or_model_that_nothing_is_known_of_is_answered_with_what_there_is(store: Home) -> None:
    with pytest.raises(UsageError, match=r"unknown device 'lapto'.*laptop"):
        reporting.render(store, "lapto", None)


def test_a_card_has_the_recipe_of_the_stores_artifact(store: Home) -> None:
    """The landed cells say what was measured; how it was made is in the store of artifacts."""
    text = reporting.render(store, None, None, [Document.CARDS])["model_cards/reference/Q2_K.md"]
    assert "Its recipe is not in this store." in text and ModelCard(text).data.library_name is None
    artifacts = Artifacts(store)
    (known,) = artifacts.all()
    again = landed(cell(workload=APP, quant="Q4_K_M"), attempt=2, figures={"decode_tps": 51.0})
    put(store, replace(again, artifact=known, started_at="2025-03-02T12:00:00.000+00:00"))
    ingest(store)
    made = reporting.render(store, None, None, [Document.CARDS])
    mine = next(text for text in made.values() if known.sha256 in text)
    assert f"`{'ab' * 32}` (sha256)" in mine and "`gguf` by llama-cpp-python 0.3.36" in mine
    assert ModelCard(mine).data.library_name == "gguf"


def test_where_one_file_cannot_be_written_the_old_report_stays(store: Home, tmp_path: Path) -> None:
    out = tmp_path / "out"
    reporting.write(store, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "WRITEUP.md").unlink()
    (out / "WRITEUP.md").mkdir()
    (out / "BENCHMARK.md").write_text("older")
    with pytest.raises(UsageError, match="there is a folder of that name"):
        reporting.write(store, out)
    assert (out / "BENCHMARK.md").read_text() == "older"
    assert {path for path in out.rglob("*") if path.is_file()} == set(before) - {out / "WRITEUP.md"}
