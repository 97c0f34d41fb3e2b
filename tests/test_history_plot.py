"""The history of a series as a picture: what it must show, and what it must not hide."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from xml.etree import ElementTree as ET

import pytest

from quantfarm.nightly.verdicts import Kind
from quantfarm.report import history_plot
from quantfarm.report.history_plot import History, history_svg
from quantfarm.statistics.series import Night, changes_in, segments
from tests.alerting import key, regression

SVG = "{http://www.w3.org/2000/svg}"


def nights(n: int = 40, step_at: int = 20, missing: tuple[int, ...] = (), fork_at: int = 1000) -> list[Night]:
    chance = random.Random(7)
    found = []
    for i in range(n):
        value = 47.2 * (0.93 if i >= step_at else 1) * (1 + chance.gauss(0, 0.005))
        build = "llama-cpp-python 0.3.36" if i >= fork_at else "llama-cpp-python 0.3.35"
        run = (date(2026, 10, 1) + timedelta(days=i)).isoformat()
        if i not in missing:
            found.append(Night(run=run, value=value, attributes={"build": build}))
    return found


def drawn(series: list[Night], **more) -> History:
    changes = [one for part in segments(series) for one in changes_in(part)]
    return History(key=key(), unit="tok/s", nights=series, changes=changes, **more)


def words(svg: str) -> str:
    return " | ".join("".join(one.itertext()) for one in ET.fromstring(svg).iter(f"{SVG}text"))  # noqa: S314 - ours


def test_it_says_what_is_shown_with_its_unit():
    said = words(history_svg(drawn(nights())))
    for part in (
        "Token generation by night: reference Q4_K_M on desk",
        "token generation (tok/s)",
        key().id,
        "40 nights",
    ):
        assert part in said
    assert "simulated" not in said
    assert "on desk (simulated)" in words(history_svg(drawn(nights(), simulated=True)))


def test_a_confirmed_change_says_what_it_is_and_one_of_the_nights_alone_only_its_size():
    series = nights()
    alone = words(history_svg(drawn(series)))
    assert "-6.9 %" in alone or "-7.0 %" in alone
    assert "regression" not in alone
    verdict = replace(regression(), first_bad=series[20].run, ratio=0.92)
    assert "-8.0 % regression" in words(history_svg(drawn(series, verdicts=[verdict])))


def test_a_verdict_at_a_fork_is_marked_although_the_nights_have_no_change_there():
    series = nights(fork_at=20)
    history = drawn(
        series, verdicts=[replace(regression(), kind=Kind.IMPROVEMENT, first_bad=series[20].run, ratio=1.1)]
    )
    assert history.changes == []
    said = words(history_svg(history))
    assert "+10 % improvement" in said
    assert "build llama-cpp-python 0.3.35 → 0.3.36" in said


def test_nights_without_data_are_holes_and_no_line():
    series = nights(missing=(8, 9, 10, 30))
    x = history_plot.places(series)
    assert [b - a for a, b in history_plot.gaps(x)] == [4, 2]
    assert "nights without data" in words(history_svg(drawn(series)))
    assert "nights without data" not in words(history_svg(drawn(nights())))


def test_levels_end_at_changes_and_at_forks():
    assert history_plot.spans(drawn(nights(fork_at=30))) == [(0, 20), (20, 30), (30, 40)]


@pytest.mark.parametrize("n", [1, 2, 400])
def test_any_number_of_nights_is_drawn_the_same_each_time(n):
    series = nights(n, step_at=n)
    assert history_svg(drawn(series)) == history_svg(drawn(series))


def test_runs_that_are_no_dates_are_counted():
    series = [replace(one, run=f"v{i}") for i, one in enumerate(nights(12))]
    assert "v0" in words(history_svg(drawn(series)))


def test_names_are_text_and_never_markup():
    odd = replace(key(), model="<script>alert(1)</script>&")
    svg = history_svg(replace(drawn(nights()), key=odd))
    assert "<script>" not in svg
    ET.fromstring(svg)  # noqa: S314 - ours


def test_there_is_nothing_to_draw_without_nights():
    with pytest.raises(ValueError, match="nothing to draw"):
        history_svg(History(key=key(), unit="", nights=[]))
