"""The frontier in a terminal: a chart and a table, of the size asked for, printed by nobody here."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from quantfarm.decide import recommend
from quantfarm.report.chart import chart
from quantfarm.report.terminal import frontier_table, summary
from quantfarm.statistics.frontier import pareto
from tests.report_examples import seven


def shown(thing: object, width: int = 130) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(thing)
    return console.file.getvalue()  # pyright: ignore


def test_every_point_and_every_name_is_on_the_chart(capsys: pytest.CaptureFixture[str]) -> None:
    drawn = chart(pareto(seven(), draws=200), width=100, height=24).plain
    for name in ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"):
        assert name in drawn
    assert drawn.count("●") + drawn.count("○") == 7
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("width", [60, 100])
def test_the_chart_has_the_size_asked_for_whatever_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    lines = chart(pareto(seven(), draws=200), width=width, height=18).plain.rstrip("\n").split("\n")
    assert len(lines) == 18 and max(len(line) for line in lines) == width


def test_the_fastest_is_rightmost_and_the_best_quality_highest() -> None:
    lines = chart(pareto(seven(), draws=200), width=100, height=24).plain.split("\n")
    columns = [line.index(mark) for line in lines for mark in "●○" if mark in line]
    first = next(i for i, line in enumerate(lines) if "●" in line or "○" in line)
    assert max(columns) == columns[-1] and "F16" in "".join(lines[: first + 2])


def test_a_terminal_too_narrow_gets_no_chart() -> None:
    assert chart(pareto(seven(), draws=200), width=30).plain == ""


def test_the_table_has_a_row_for_everybody_and_marks_the_recommended_one() -> None:
    group = seven()
    group[2] = dataclasses.replace(group[2], figures={"ppl": group[2].figures["ppl"]}, launches={},
                                   failures=("bench: run: killed",))  # fmt: skip
    frontier = pareto(group, draws=200)
    text = shown(frontier_table(frontier, recommend(group, draws=200).chosen), width=200)
    rows = {line.split()[1] if line[0] in "★●○" else line.split()[0]: line for line in text.splitlines()[1:] if line}
    assert rows["Q4_K_M"].startswith("★") and "no decode speed" in rows["Q6_K"] and "killed" in rows["Q6_K"]
    assert rows["Q2_K"].startswith("●") and "66.4" in rows["Q2_K"]


def test_the_end_of_a_sweep_shows_chart_table_and_recommendation() -> None:
    group = seven()
    text = shown(summary(pareto(group, draws=200), recommend(group, draws=200), width=120))
    assert "Recommended: Q4_K_M" in text and "Runner-up Q5_K_M" in text and "┌" in text
    assert "Measure it again: quantfarm sweep --model reference --quants Q4_K_M" in text


def test_nothing_recommended_is_said() -> None:
    group = seven()
    text = shown(summary(pareto(group, draws=200), recommend(group, max_ram_mib=1, draws=200)))
    assert "Recommended: nothing" in text and "removes all of 7" in text
