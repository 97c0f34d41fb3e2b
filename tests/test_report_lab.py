"""The report of one model in every format: tables that can be read, accuracies with their differences, plots."""

from __future__ import annotations

import dataclasses
import io
import re

import pytest
from rich.console import Console

from cli import decide as shown
from quantfarm import decide
from quantfarm.candidates import Candidate, named
from quantfarm.nouns import DeviceProfile
from quantfarm.report import columns, lab_table
from quantfarm.report.benchmark import benchmark_files
from quantfarm.report.figures_table import WIDEST, legend, table
from quantfarm.report.quality_plot import accuracy_svg, quality_svg, several_ways
from quantfarm.statistics.increase import base_of
from quantfarm.statistics.summary import Summary
from tests.report_examples import lab, seven

BOX = DeviceProfile(name="bench-box", os="Debian 12", chip="A Chip", cores=2)


@pytest.fixture(scope="module")
def everyone() -> list[Candidate]:
    return lab()


@pytest.fixture(scope="module")
def files(everyone: list[Candidate]) -> dict[str, str]:
    return benchmark_files([BOX], everyone, date="2026-01-02")


def rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if line[:1] == "|"
    ]


def of(everyone: list[Candidate], variant: str) -> Candidate:
    return next(c for c in everyone if c.variant == variant)


def test_what_would_be_too_wide_is_a_table_of_quality_and_one_of_speed(everyone: list[Candidate]) -> None:
    text = table(everyone)
    assert "**Quality**" in text and "**Speed and memory**" in text
    assert max(len(row) for row in rows(text)) <= WIDEST
    for variant in ("F16", "Q4_K_M+imatrix", "IQ2_XS+imatrix", "HF", "MLX-4", "AWQ", "GPTQ", "NF4", "RTN"):
        assert text.count(f"| **{variant}**<br>") >= 2
    assert "**Quality**" not in table(seven()), "what fits stays one table"


def test_an_accuracy_has_its_interval_and_its_paired_difference(everyone: list[Candidate]) -> None:
    header, *found = [
        row for row in rows(table(everyone)) if "reference_cloze acc %" in row or row[0].startswith("**Q2_K")
    ]
    at = header.index("reference_cloze acc %")
    value, interval, difference = found[0][at].split("<br>")
    assert re.fullmatch(r"<sub>\d+\.\d–\d+\.\d</sub>", interval)
    low, high = map(float, re.fullmatch(r"<sub>Δ -\d+\.\d \((-[\d.]+) to (-[\d.]+)\)</sub>", difference).groups())  # type: ignore[union-attr]
    assert float(value) < 65
    assert low < high < 0, "two bits answer fewer questions, beyond chance"


def test_a_base_is_of_the_same_runtime(everyone: list[Candidate]) -> None:
    assert (base_of(everyone, "mlx") or everyone[0]).name == "HF (mlx)"
    assert (base_of(everyone, "transformers") or everyone[0]).name == "HF (transformers)"
    assert (base_of(everyone, "llama_cpp") or everyone[0]).variant == "F16"
    assert "against F16 or HF" in table(everyone)


def test_few_documents_cannot_be_taken_for_the_benchmark(everyone: list[Candidate], files: dict[str, str]) -> None:
    for text in (table(everyone), accuracy_svg(everyone), *map(_printed, lab_table.tables(everyone))):
        assert "arc_easy" not in text or "⚠ ONLY 100 OF 2,376" in " ".join(text.split())
    assert "not that benchmark's score" in legend(everyone)
    assert "not that benchmark's score" in lab_table.footnote(everyone)
    assert "not that benchmark's score" in files["BENCHMARK.md"]


def _printed(one: object) -> str:
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(one)
    return console.export_text()


@pytest.mark.parametrize(
    ("metric", "heading"),
    [
        ("acc_arc_easy", "arc_easy acc %"),
        ("acc_norm_hellaswag_10shot", "hellaswag 10-shot acc_norm %"),
        ("acc_mmlu_5shot_200of14042", "⚠ ONLY 200 OF 14,042: mmlu 5-shot acc %"),
    ],
)
def test_a_tasks_column_says_what_was_asked(metric: str, heading: str) -> None:
    found = columns.task(metric)
    assert found and found.heading == heading


def test_a_standard_error_is_no_column() -> None:
    assert columns.task("acc_stderr_arc_easy") is None
    assert columns.task("acc_norm_stderr_arc_easy") is None


def test_a_terminal_of_any_width_cuts_nothing_off(everyone: list[Candidate]) -> None:
    for width in (80, 110, 200):
        console = Console(width=width, record=True, file=io.StringIO())
        for one in lab_table.tables(everyone, width):
            console.print(one)
        text = console.export_text()
        assert "…" not in text
        assert len(re.findall(r"^IQ2_XS\+imatrix +llama_cpp", text, re.M)) >= 2
        assert re.search(r"\d\d\.\d \(\d\d\.\d–\d\d\.\d\), -\d+\.\d \(-\d+\.\d to -\d+\.\d\)", text)


def test_the_end_of_a_sweep_has_every_variant(everyone: list[Candidate]) -> None:
    file = io.StringIO()
    shown.show(everyone, Console(width=120, file=file))
    text = file.getvalue()
    assert len(re.findall(r"^IQ2_XS\+imatrix +llama_cpp", text, re.M)) == 2, "a file cuts nothing and splits nothing"
    assert "HF (mlx)" in text and "Recommended: Q4_K_M+imatrix" in text
    assert not lab_table.wanted(seven()), "one runtime without tasks: the frontier shows it all"


def test_a_variant_under_two_runtimes_is_told_apart() -> None:
    one, other = seven()[0], dataclasses.replace(seven()[0], runtime="llama_native")
    assert [c.name for c in named([one, other])] == ["F16 (llama_cpp)", "F16 (llama_native)"]
    assert [c.variant for c in named([one, other])] == ["F16", "F16"]
    assert [c.name for c in named([one])] == ["F16"]


def test_not_steady_is_said_and_no_number(everyone: list[Candidate]) -> None:
    hot = dataclasses.replace(
        of(everyone, "Q2_K"),
        figures={"not_steady": Summary(value=30, mad=0, n=1, low=None, high=None, coverage=None)},
    )
    steady = Summary(value=20.0, mad=0, n=9, low=19.0, high=21.0, coverage=0.95)
    cool = dataclasses.replace(of(everyone, "Q4_K_M"), figures={"sustained_steady": steady})
    found = {row[0].split("**")[1]: row[-1] for row in rows(table([cool, hot]))[2:]}
    assert found == {"Q4_K_M": "20.0<br><sub>19.0–21.0</sub>", "Q2_K": "not steady"}


def test_each_format_is_a_mark_of_its_own_in_the_plot(everyone: list[Candidate], files: dict[str, str]) -> None:
    text = quality_svg(everyone)
    for name in ("Q4_K_M+imatrix", "MLX-4", "AWQ", "llama.cpp, imatrix", "mean KL divergence to it (nat)"):
        assert f">{name}<" in text
    assert ">F16<" not in text, "the base loses nothing"
    assert several_ways(everyone) and not several_ways(seven())
    shown = set(re.findall(r"!\[[^\]]*\]\(([^)]+)\)", files["BENCHMARK.md"]))
    assert {path.rsplit("-", 1)[1] for path in shown} == {"pareto.svg", "cliff.svg", "accuracy.svg", "quality.svg"}
    assert shown == set(files) - {"BENCHMARK.md"}


def test_the_plots_are_the_same_for_the_same_data(everyone: list[Candidate]) -> None:
    assert quality_svg(everyone) == quality_svg(everyone[::-1])
    assert accuracy_svg(everyone) == accuracy_svg(everyone[::-1])


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(ValueError, match="no task was measured"):
        accuracy_svg(seven())
    with pytest.raises(ValueError, match="no two quantized variants"):
        quality_svg(seven()[:1])


def test_each_way_of_making_has_its_ladder(files: dict[str, str]) -> None:
    text = files["BENCHMARK.md"]
    assert "The quality cliff lies between Q4_K_M and Q3_K_M" in text
    assert "With an importance matrix: The quality cliff lies between Q4_K_M+imatrix and IQ3_XS+imatrix" in text
    assert "An importance matrix changes perplexity by" in text


def test_runtimes_without_speeds_do_not_disturb_the_recommendation(everyone: list[Candidate]) -> None:
    made = decide.recommend(everyone)
    assert made.chosen and made.chosen.name == "Q4_K_M+imatrix"
    assert {c.name: why for c, why in made.excluded}["HF (mlx)"] == "no decode speed"
