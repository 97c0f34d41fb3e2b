"""How figures are written: sensible digits, one style everywhere."""

from __future__ import annotations

import pytest

from quantfarm.report.figures import number, plural, probability, share, spread
from quantfarm.report.palette import CLASSES, colour
from quantfarm.statistics.summary import summarise


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1234"), (123.45, "123"), (56.78, "56.8"), (0.51234, "0.512"), (0.00012345, "0.000123"), (0.0, "0"),
     (9.999, "10.0"), (99.96, "100"), (-3.14159, "-3.14"), (None, "–"), (float("nan"), "–")],
)  # fmt: skip
def test_a_number_has_three_significant_digits_and_never_loses_its_whole_part(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.042, "+4.2 %"), (0.0003, "+0.03 %"), (-0.123, "-12 %"), (0.0, "±0 %"), (0.21, "+21 %")]
)
def test_a_share_is_a_signed_percentage(value: float, text: str) -> None:
    assert share(value) == text


@pytest.mark.parametrize(("p", "text"), [(1.0, "1.00"), (0.9995, ">0.99"), (0.99, ">0.99"), (0.5, "0.50"),
                                         (0.001, "<0.01"), (0.0, "0.00")])  # fmt: skip
def test_a_probability_is_never_rounded_to_a_certainty(p: float, text: str) -> None:
    assert probability(p) == text


def test_a_spread_is_an_interval_from_six_launches_on_and_the_mad_below() -> None:
    assert spread(summarise([810, 812, 814, 808, 816, 820])) == "813 (808–820)"
    assert spread(summarise([810.0, 812.0, 815.0])) == "812 ± 3"
    assert spread(summarise([812.0])) == "812"


def test_a_spread_that_is_there_is_not_rounded_away() -> None:
    assert spread(summarise([79.1, 79.11, 79.1001])) == "79.1 ± <0.1"
    assert spread(summarise([79.1, 79.1])) == "79.1 ± 0.0"


def test_counts_agree_with_their_noun() -> None:
    assert (plural(1, "launch", "launches"), plural(2, "launch", "launches")) == ("1 launch", "2 launches")


def test_every_quantization_has_one_colour_and_the_usual_seven_are_distinct() -> None:
    usual = ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"]
    assert [colour(name).lower() for name in usual] == [CLASSES[bits].lower() for bits in (16, 8, 6, 5, 4, 3, 2)]
    assert colour("something-new") == colour("something-new") and colour("Q4_K_M+imatrix") == colour("Q4_K_M")
