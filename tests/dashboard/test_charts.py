"""Plots as pure functions: a unit on every axis, intervals, one colour for a quantization, names literal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go
import pytest

from dashboard import theme
from dashboard.charts import compare as compare_chart
from dashboard.charts import drawing
from dashboard.charts import frontier as frontier_chart
from dashboard.charts import quality as quality_chart
from quantfarm.candidates import Candidate
from quantfarm.decide.cliff import Cliff, cliff
from quantfarm.decide.versus import compare
from quantfarm.statistics.frontier import pareto
from quantfarm.statistics.summary import summarise

HOSTILE = "<b>bold</b> <a href='x'>link</a> $\\alpha$ " + "z" * 170


def candidate(
    variant: str, speed: float, memory: float, bits: float, nll: Sequence[float], **other: object
) -> Candidate:
    speeds = tuple(speed * (1 + 0.001 * i) for i in range(6))
    figures = {
        "decode_tps": summarise(speeds),
        "resident_peak": summarise([memory] * 6),
        "ppl": summarise([math.exp(sum(nll) / len(nll))]),
    }
    given = {
        "device": "here",
        "model": "m",
        "runtime": "r",
        "build": "1",
        "text_sha256": "ab" * 32,
        "artifact": variant,
    }
    return Candidate(
        variant=variant,
        bits_per_weight=bits,
        figures=figures,
        units={"decode_tps": "tok/s", "resident_peak": "MiB"},
        launches={"decode_tps": speeds, "resident_peak": (memory,) * 6},
        chunk_nll=tuple(100 * n for n in nll),
        chunk_tokens=(100,) * len(nll),
        **(given | other),
    )  # pyright: ignore[reportArgumentType]


def four() -> list[Candidate]:
    return [
        candidate("F16", 100, 900, 16.0, [2.0, 3.0, 2.5]),
        candidate("Q8_0", 180, 500, 8.5, [2.001, 3.002, 2.502]),
        candidate("Q4_K_M", 220, 350, 4.8, [2.01, 3.012, 2.508]),
        candidate("Q4_K_M+imatrix", 220, 350, 4.8, [2.006, 3.009, 2.505]),
        candidate("Q2_K", 150, 360, 2.6, [2.5, 3.5, 3.01]),
    ]


def points(figure: go.Figure) -> dict[str, dict[str, object]]:
    """By what they are called under the pointer."""
    marks = [trace for trace in figure.to_dict()["data"] if trace.get("mode") == "markers" and trace.get("customdata")]
    return {trace["customdata"][0].split("|")[2]: trace for trace in marks}


def frontier_figure(everyone: Sequence[Candidate], memory_across: bool = False) -> go.Figure:
    found = pareto(everyone)
    return frontier_chart.figure(found, frontier_chart.axes([found], memory_across))


def test_every_axis_has_its_unit_and_says_which_way_is_better() -> None:
    layout = frontier_figure(four()).to_dict()["layout"]
    assert layout["xaxis"]["title"]["text"] == "decode speed (tok/s)"
    assert layout["yaxis"]["title"]["text"] == "perplexity (lower is better)"
    assert layout["yaxis"]["range"][0] > layout["yaxis"]["range"][1], "better is not up"
    assert (
        frontier_figure(four(), True).to_dict()["layout"]["xaxis"]["title"]["text"].startswith("resident memory (MiB")
    )


def test_points_have_bars_and_the_colour_of_their_quantization_everywhere() -> None:
    shown = points(frontier_figure(four()))
    by_bits = points(quality_chart.by_bits(four(), "ppl", cliff(four())))
    for name in ("Q8_0", "Q4_K_M", "Q2_K"):
        assert shown[name]["marker"]["color"] == by_bits[name]["marker"]["color"] == theme.colour(name)  # pyright: ignore[reportIndexIssue]
        assert shown[name]["error_x"]["array"][0] > 0  # pyright: ignore[reportIndexIssue]


def test_what_is_dominated_is_dimmed_and_the_frontiers_line_leaves_it_out() -> None:
    figure = frontier_figure(four())
    shown = points(figure)
    assert shown["Q2_K"]["opacity"] < shown["Q8_0"]["opacity"] == 1.0  # pyright: ignore[reportOperatorIssue]
    line = next(trace for trace in figure.to_dict()["data"] if trace["mode"] == "lines")
    assert 150 not in [round(x) for x in line["x"]]


def test_small_multiples_share_their_axes() -> None:
    near, far = pareto(four()), pareto([candidate("F16", 10, 2000, 16.0, [2.0, 3.0, 2.5])])
    shared = frontier_chart.axes([near, far], False)
    figures = [frontier_chart.figure(one, shared).to_dict()["layout"] for one in (near, far)]
    assert figures[0]["xaxis"]["range"] == figures[1]["xaxis"]["range"]
    assert shared.x[0] < 10 and shared.x[1] > 220


def test_the_cliff_is_shaded_between_the_last_good_and_the_first_bad() -> None:
    found = cliff(four())
    assert isinstance(found, Cliff)
    (shape,) = [one for one in quality_chart.by_bits(four(), "ppl", found).layout["shapes"] if one.type == "rect"]
    assert (shape.x0, shape.x1) == (4.8, 2.6)


def test_a_type_is_joined_with_itself_made_with_a_matrix() -> None:
    lines = quality_chart.by_bits(four(), "ppl", cliff(four())).to_dict()["data"]
    assert [t for t in lines if t.get("line", {}).get("dash") == "dot" and list(t["x"]) == [4.8, 4.8]]


def test_as_an_increase_only_what_is_above_the_base_is_drawn() -> None:
    figure = quality_chart.by_bits(four(), "ppl", cliff(four()), as_increase=True)
    assert set(points(figure)) == {"Q8_0", "Q4_K_M", "Q4_K_M+imatrix", "Q2_K"}
    assert figure.to_dict()["layout"]["yaxis"]["type"] == "log"


def test_right_is_better_whichever_way_a_metric_counts() -> None:
    f16, q8 = four()[:2]
    drawn = compare_chart.figure(compare(f16, q8)).to_dict()["data"]
    better = next(trace for trace in drawn if trace["name"] == "better")
    assert dict(zip(better["y"], better["x"], strict=True))["resident memory"] > 0
    assert dict(zip(better["y"], better["x"], strict=True))["decode speed"] > 0


def test_names_carry_no_markup_into_a_plot_and_are_cut() -> None:
    figure = frontier_figure([candidate(HOSTILE, 100, 900, 4.0, [2.0, 3.0, 2.5], runtime=HOSTILE)])
    texts = [note["text"] for note in figure.to_dict()["layout"]["annotations"]]
    texts += [points(figure)[HOSTILE]["hovertemplate"], points(figure)[HOSTILE]["name"]]
    for text in map(str, texts):
        assert "<b>bold" not in text and "<a" not in text and "$" not in text
    assert len(drawing.plain("z" * 200)) == drawing.LONGEST


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        frontier_chart.axes([pareto([])], False)
    with pytest.raises(ValueError, match="nothing to draw"):
        quality_chart.by_bits([], "ppl", cliff([]))
