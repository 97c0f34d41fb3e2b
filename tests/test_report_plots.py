"""The plots: readable text, nothing overlapping, the same for the same data."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import matplotlib as mpl
import pytest

from quantfarm.candidates import Candidate
from quantfarm.decide import cliff, recommend
from quantfarm.report.figures import share
from quantfarm.report.plots import cliff_svg, pareto_svg
from quantfarm.statistics.frontier import pareto
from quantfarm.statistics.increase import increase
from tests.report_examples import seven


def drawn(group: Sequence[Candidate]) -> str:
    return pareto_svg(pareto(group, draws=200), recommend(group, draws=200).chosen, subtitle="a chip")


def texts(svg: str) -> list[str]:
    root = ET.fromstring(svg)  # noqa: S314
    return [" ".join("".join(t.itertext()).split()) for t in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_pareto_plot_names_every_variant_with_its_memory_and_marks_the_recommended_one() -> None:
    found = texts(drawn(seven()))
    assert {"F16", "Q8_0", "Q6_K", "Q5_K_M", "★ Q4_K_M", "Q3_K_M", "Q2_K"} <= set(found)
    assert "79.1 MiB" in found and "decode speed (tokens per second)" in found
    assert "Speed, memory and quality: reference on bench-box" in found and "a chip" in found


def test_text_stays_text_and_the_paper_is_opaque() -> None:
    svg = drawn(seven())
    assert "#ffffff" in svg and "DejaVu Sans" in svg and len(texts(svg)) > 20


def test_equal_data_give_equal_svg_without_a_date() -> None:
    assert drawn(seven()) == drawn(seven())
    assert not re.search(r"20\d\d-\d\d-\d\d|dc:date", drawn(seven()))


def test_drawing_leaves_the_global_settings_of_matplotlib_alone() -> None:
    before = dict(mpl.rcParams)
    drawn(seven())
    assert dict(mpl.rcParams) == before


def test_a_simulated_device_is_labelled_in_the_picture() -> None:
    assert any("bench-box (simulated)" in text for text in texts(drawn(seven(simulated=True))))


@pytest.mark.parametrize("launches", [1, 2, 6])
def test_one_candidate_and_few_launches_can_be_drawn(launches: int) -> None:
    assert "★ Q2_K" in texts(pareto_svg(pareto(seven(launches=launches)[-1:]), seven()[-1]))


def test_a_frontier_without_anybody_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        pareto_svg(pareto([]))


def test_the_cliff_plot_shades_the_cliff_and_says_each_loss() -> None:
    group = seven()
    found = texts(cliff_svg(group, cliff(group)))
    assert "quality cliff" in found and "Q3_K_M" in found and share(increase(group[-1], group[0]).share) in found  # pyright: ignore
    assert "bits per weight (log scale, fewer to the right)" in found


def test_without_a_cliff_nothing_is_shaded() -> None:
    group = seven()[:4]
    assert "quality cliff" not in texts(cliff_svg(group, cliff(group)))


def test_a_cliff_plot_of_one_size_is_refused() -> None:
    group = seven()[:1]
    with pytest.raises(ValueError, match="at least two sizes"):
        cliff_svg(group, cliff(group))
