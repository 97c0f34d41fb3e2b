"""A table along an axis: only what differs in nothing else is compared, with intervals, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from quantfarm.nouns import Scalar
from quantfarm.report.axes_table import Axis, Point, Row, along, section, table
from quantfarm.report.depth_plot import depth_svg
from quantfarm.report.speeds import Speeds

USUAL: dict[str, Scalar] = {"n_depth": 0, "threads": 4, "flash_attn": "on", "type_k": "f16", "n_batch": 2048}
SPEEDS = (("Q8_0", 40.0), ("Q4_K_M", 62.0))
USUAL |= {"n_prompt": 512, "n_gen": 128}


def point(*values: float, metric: str = "bench_tg", variant: str = "Q4_K_M", **settings: Any) -> Point:
    about: dict[str, Any] = {"device": "desk", "model": "m", "runtime": "llama_cpp", "kind": "bench", "unit": "tok/s"}
    return Point(metric=metric, variant=variant, settings={**USUAL, **settings}, values=values, cores=4, **about)


def only(found: tuple[Axis, ...]) -> tuple[Axis, Row]:
    (axis,) = found
    (row,) = axis.rows
    return axis, row


def test_values_that_differ_in_one_parameter_are_an_axis() -> None:
    axis, row = only(along([point(40.0), point(20.0, n_depth=4096), point(30.0, n_depth=512)]))
    assert (axis.parameter, axis.values, row.against) == ("n_depth", (0, 512, 4096), 0)
    change = row.change(512)
    assert change
    assert (change.ratio, change.low) == (pytest.approx(0.75), None)
    assert row.change(0) is None


def test_a_change_has_an_interval_from_four_launches_on_each_side() -> None:
    _, row = only(along([point(10.0, 10.0, 10.0, 10.0), point(20.0, 20.0, 22.0, 20.0, flash_attn="off")]))
    change = row.change("off")
    assert change
    assert (change.ratio, change.low, change.high) == pytest.approx((2.0, 2.0, 2.2))


def test_what_differs_in_two_parameters_is_not_compared() -> None:
    assert along([point(40.0), point(20.0, n_depth=512, threads=1)]) == ()


def test_of_a_product_the_most_usual_line_is_shown() -> None:
    cells = [point(d + t, n_depth=d, threads=t) for d in (0, 512) for t in (1, 4)]
    depth, threads = along(cells)
    assert {value: p.settings["threads"] for value, p in depth.rows[0].points.items()} == {0: 4, 512: 4}
    assert {value: p.settings["n_depth"] for value, p in threads.rows[0].points.items()} == {1: 0, 4: 0}
    assert threads.rows[0].against == 4  # as many as the device has cores


def test_without_the_usual_value_the_first_one_is_compared_with() -> None:
    axis, row = only(along([point(1.0, type_k="q8_0"), point(2.0, type_k="q4_0")]))
    assert (axis.values, row.against) == (("q8_0", "q4_0"), "q8_0")


def test_on_comes_before_off() -> None:
    axis, row = only(along([point(1.0, flash_attn="off"), point(2.0)]))
    assert (axis.values, row.against) == (("on", "off"), "on")


def test_variants_and_metrics_are_rows_and_what_is_missing_is_a_dash() -> None:
    cells = [
        point(40.0),
        point(20.0, n_depth=512),
        point(400.0, metric="bench_pp"),
        point(200.0, metric="bench_pp", n_depth=64),
    ]
    (axis,) = along(
        [*cells, point(9.0, variant="Q8_0"), point(8.0, variant="Q8_0", n_depth=512), point(1.0, metric="ppl")]
    )
    assert [(row.variant, row.metric) for row in axis.rows] == [
        *(("Q4_K_M", "bench_pp"), ("Q4_K_M", "bench_tg"), ("Q8_0", "bench_tg"))
    ]
    lines = table(axis).splitlines()
    assert lines[0] == "| variant | figure | 0 | 64 | 512 |"
    assert lines[2] == "| **Q4_K_M** | prompt processing (tok/s) | 400 | 200<br><sub>-50 %, no interval</sub> | – |"


def test_intervals_are_shown_where_there_are_some() -> None:
    (axis,) = along([point(*[10.0] * 6), point(*[12.0] * 5, 12.6, n_depth=512)])
    assert "10.0<br><sub>10.0–10.0</sub>" in table(axis)
    assert "12.0<br><sub>12.0–12.6</sub><br><sub>+20 % (+20 % to +26 %)</sub>" in table(axis)


def test_the_section_says_what_is_compared_and_whether_it_was_measured() -> None:
    (axis,) = along([point(10.0), point(12.0, n_depth=512)])
    assert section(axis).startswith("### Along n_depth\n")
    assert "`bench pp512 tg128`, against n_depth 0, all else equal. Launches: 1." in section(axis)
    assert "Simulated" not in section(axis)


def test_one_value_alone_is_no_axis() -> None:
    assert along([point(10.0), point(11.0, variant="Q8_0", n_depth=512)]) == ()


# --- the picture by depth ---


def words(svg: str) -> str:
    tag = "{http://www.w3.org/2000/svg}text"
    return " | ".join("".join(one.itertext()) for one in ET.fromstring(svg).iter(tag))  # noqa: S314 - ours


def test_speed_by_depth_is_drawn_with_what_the_deepest_costs() -> None:
    cells = [point(*[v / (1 + d / 4096)] * 6, variant=name, n_depth=d) for name, v in SPEEDS for d in (0, 512, 4096)]
    (axis,) = along(cells)
    said = words(depth_svg(axis))
    for part in ("Speed by depth: m on desk", "Q8_0", "Q4_K_M", "-50 % at 4096", "token generation (tok/s)"):
        assert part in said
    assert "95 % interval over launches" in said
    assert "simulated" not in said
    assert "(simulated)" in words(depth_svg(replace(axis, simulated=True)))


def test_another_axis_is_no_depth() -> None:
    (axis,) = along([point(1.0), point(2.0, flash_attn="off")])
    with pytest.raises(ValueError, match="nothing to draw"):
        depth_svg(axis)


def test_the_report_shows_it_under_the_table() -> None:
    speeds = Speeds(axes=along([point(10.0), point(5.0, n_depth=512)])).of("desk", "m")
    assert list(speeds.plots("plots/desk-m")) == ["plots/desk-m-depth.svg"]
    assert speeds.section("plots/desk-m").endswith("![speed by depth](plots/desk-m-depth.svg)")
    assert Speeds().section("x") == ""
    assert speeds.of("other", "m").section("x") == ""
