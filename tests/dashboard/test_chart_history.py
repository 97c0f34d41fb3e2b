"""The plot of a series: what it must show, and what it must not join."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from dashboard import theme
from dashboard.charts import history as chart
from quantfarm.nightly.history import compose
from quantfarm.nightly.points import Point
from quantfarm.nightly.verdicts import Kind
from storage.histories import Launches
from tests.alerting import key, regression

NIGHTS = [(date(2026, 10, 1) + timedelta(days=i)).isoformat() for i in range(30)]


def points(missing: tuple[int, ...] = (), fork_at: int = 99, step_at: int = 15) -> list[Point]:
    return [
        Point(
            night=night,
            value=47.0 + 0.1 * (i % 3) - (4.0 if i >= step_at else 0.0),
            unit="tok/s",
            n=3,
            attributes={"build": "llama.cpp b2" if i >= fork_at else "llama.cpp b1"},
        )
        for i, night in enumerate(NIGHTS)
        if i not in missing
    ]


def shown(found: list[Point], *verdicts, acknowledged=()):
    history = compose(key(), found, NIGHTS, verdicts)
    launches = {point.night: Launches(low=point.value - 1, high=point.value + 2, n=3, cell="c", attempt=1)
                for point in found}  # fmt: skip
    return chart.figure(history, launches, acknowledged), history


def values(figure) -> list:
    return [trace for trace in figure.data if trace.legendgroup == "values"]


def lines(figure) -> list[list[str]]:
    return [list(trace.x) for trace in values(figure)]


def test_axes_say_what_and_in_which_unit() -> None:
    figure, _ = shown(points())
    assert figure.layout.yaxis.title.text == "token generation (tok/s)"
    assert figure.layout.xaxis.title.text == "night (date)"


def test_no_line_goes_across_a_night_without_data() -> None:
    figure, history = shown(points(missing=(7, 8)))
    assert history.gaps == (NIGHTS[7], NIGHTS[8])
    assert lines(figure) == [NIGHTS[:7], NIGHTS[9:]]
    (band,) = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert band.x0.startswith(NIGHTS[6])
    assert band.x1.startswith(NIGHTS[8])


def test_no_line_goes_over_a_fork_which_says_what_changed() -> None:
    figure, _ = shown(points(fork_at=20, step_at=99))
    assert lines(figure) == [NIGHTS[:20], NIGHTS[20:]]
    assert [note.text.replace("<br>", " ") for note in figure.layout.annotations] == ["runtime llama.cpp b1 → b2"]


def test_each_night_has_the_range_of_its_launches_and_its_measurement() -> None:
    figure, _ = shown(points(step_at=99))
    (drawn,) = values(figure)
    assert [round(one, 6) for one in drawn.error_y.array] == [2.0] * 30
    assert [round(one, 6) for one in drawn.error_y.arrayminus] == [1.0] * 30
    assert list(drawn.customdata[0]) == ["c", 1]


def test_a_change_of_the_nights_alone_is_hollow_and_a_confirmed_one_filled() -> None:
    alone, _ = shown(points())
    (mark,) = [trace for trace in alone.data if trace.mode == "markers+text"]
    assert (mark.name, mark.marker.symbol, mark.x) == ("change, not confirmed", "triangle-down-open", (NIGHTS[15],))
    verdict = replace(regression(), first_bad=NIGHTS[15], night=NIGHTS[17], ratio=0.91)
    figure, _ = shown(points(), verdict)
    (mark,) = [trace for trace in figure.data if trace.mode == "markers+text"]
    assert (mark.name, mark.marker.symbol, mark.text) == ("confirmed regression", "triangle-down", ("-9.0 %",))
    assert mark.marker.color == theme.BAD


def test_what_is_acknowledged_is_said_to_be() -> None:
    verdict = replace(regression(), first_bad=NIGHTS[15], night=NIGHTS[17])
    _, history = shown(points(), verdict)
    assert [mark.said for mark in chart.marks(history, {NIGHTS[15]})] == ["regression, acknowledged"]


def test_an_improvement_is_marked_at_a_fork_where_the_nights_alone_show_no_change() -> None:
    verdict = replace(regression(), kind=Kind.IMPROVEMENT, first_bad=NIGHTS[20], night=NIGHTS[22], ratio=1.02)
    _, history = shown(points(fork_at=20, step_at=99), verdict)
    assert not history.changes
    assert [(mark.night, mark.said) for mark in chart.marks(history)] == [(NIGHTS[20], "confirmed improvement")]


def test_markup_of_a_build_is_shown_literally() -> None:
    found = [replace(point, attributes={"build": "<a href='x'>$b$</a>"}) for point in points()]
    figure, _ = shown(found)
    assert "<a" not in values(figure)[0].text[0]
    assert "&lt;a" in values(figure)[0].text[0]


def test_a_series_without_values_is_an_empty_figure() -> None:
    figure, _ = shown([])
    assert not figure.data
