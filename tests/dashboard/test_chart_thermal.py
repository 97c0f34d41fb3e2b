"""The plots of sustained load: what they must show, and what they must not say."""

from __future__ import annotations

from typing import Any

from dashboard.charts import thermal as chart
from quantfarm.metrics.sustained import sustained
from quantfarm.report.throttles import Throttle
from tests.test_sustained import looks, runs, trace

STEADY = trace(*runs([10] * 3 + [20] * 7, tokens=501), *looks("skin_therm_c", 41.0))
RISING = trace(*runs([10 + 0.3 * i for i in range(30)], tokens=501))


def load(of: Any, **more: Any) -> Throttle:
    found = sustained(of)
    assert found
    return Throttle(
        **{"device": "phone", "model": "reference", "variant": "Q4_K_M", "build": "b1", "found": found} | more
    )


def test_each_axis_has_its_unit_and_both_parts_share_the_time() -> None:
    figure = chart.figure(load(STEADY))
    assert figure.layout.yaxis.title.text == "decode speed by run (tok/s)"
    assert figure.layout.yaxis2.title.text == "temperature (°C)"
    assert figure.layout.xaxis2.title.text == "time since the first prompt (s)"
    assert figure.layout.xaxis.matches == "x2"


def test_the_steady_part_is_shaded_with_its_median_and_interval() -> None:
    figure = chart.figure(load(STEADY))
    shade, band, line = figure.layout.shapes
    assert (shade.name, round(shade.x0, 1)) == ("steady", 31.8)
    assert (band.y0, band.y1) == (25.0, 25.0)
    assert line.y0 == 25.0
    hollow, filled = (trace for trace in figure.data if trace.mode == "markers")
    assert (len(hollow.x), len(filled.x)) == (3, 7)


def test_what_is_not_steady_shows_no_steady_part() -> None:
    figure = chart.figure(load(RISING))
    assert not figure.layout.shapes
    (marks,) = (trace for trace in figure.data if trace.mode == "markers")
    assert (marks.name, len(marks.x)) == ("run", 30)


def test_without_a_thermometer_there_is_no_second_part() -> None:
    figure = chart.figure(load(RISING))
    assert "yaxis2" not in figure.layout


def test_devices_are_compared_by_what_they_keep_of_the_first_run() -> None:
    figure = chart.compared([load(STEADY), load(RISING, device="desk")])
    first, second = figure.data
    assert [round(one) for one in first.y] == [100] * 3 + [50] * 7
    assert first.marker.symbol != second.marker.symbol
    assert figure.layout.yaxis.title.text == "decode speed (% of the first run's)"


def test_names_are_shown_literally() -> None:
    figure = chart.compared([load(STEADY, device="<b>$x$</b>")])
    assert figure.data[0].name.startswith("&lt;b&gt;&#36;x&#36;")


def test_the_rows_say_which_runs_are_steady() -> None:
    rows = chart.rows(load(STEADY))
    assert [row["steady"] for row in rows] == [False] * 3 + [True] * 7
    assert not any(row["steady"] for row in chart.rows(load(RISING)))
