"""The view of the frontier: what is shown, what moves the default, and what is never recommended."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from storage.home import Home
from storage.ingest import ingest
from tests.dashboard.filling import fill
from tests.dashboard.showing import show, words
from tests.storing import APP, LAPTOP, PHONE, cell, launches

HOSTILE = "<img src=x onerror=alert(1)> **b** $x$ 名前 " + "y" * 160


def test_the_default_stands_with_its_reason_its_runner_up_and_the_command(home: Path) -> None:
    fill(home)
    shown = show(home, "frontier", device="laptop")
    said = words(shown)
    assert r"★ Q8\_0" in said and "fastest to decode on the Pareto frontier" in said
    assert r"Runner\-up F16" in said
    assert any("quantfarm sweep --model reference --quants Q8_0" in one.value for one in shown.code)


def test_conditions_stand_beside_the_figures(home: Path) -> None:
    fill(home)
    said = words(show(home, "frontier", device="laptop")).replace("\\", "")
    for condition in (
        "laptop (N100)",
        "llama-cpp-python 0.3.36",
        "power mode unknown",
        "4 threads",
        "measured 2025-03-01",
    ):
        assert condition in said, condition


def test_sliders_move_the_default_and_say_what_nothing_satisfies(home: Path) -> None:
    fill(home)
    assert r"★ Q2\_K" in words(show(home, "frontier", device="laptop", min_quality="0.5"))
    assert r"★ Q2\_K" in words(show(home, "frontier", device="laptop", min_quality="0.0", max_ram="310"))
    nothing = words(show(home, "frontier", device="laptop", min_speed="200")).replace("\\", "")
    assert "Nothing to recommend" in nothing and "It would take" in nothing and "182 tok/s" not in nothing


def test_an_address_chooses_the_axes_by_their_names(home: Path) -> None:
    fill(home)
    shown = show(home, "frontier", device="laptop", quality="kld_mean", memory="axis")
    words(shown)
    assert shown.selectbox(key="quality").value == "kld_mean"
    assert re.search(r"/frontier\?\S*quality=kld_mean\S*", words(shown))


def test_a_simulated_device_is_marked_and_never_recommended(home: Path) -> None:
    fill(home, replace(PHONE, simulated=True))
    said = words(show(home, "frontier", device="phone"))
    assert "Simulated device" in said and "★ Q8" not in said and "fastest to decode" not in said


def test_devices_stand_beside_each_other(home: Path) -> None:
    fill(home)
    fill(home, PHONE)
    shown = show(home, "frontier", device=["laptop", "phone"])
    assert [one.value for one in shown.subheader] == ["laptop", "phone"]
    assert words(shown).count("fastest to decode") == 2


def test_what_cannot_be_compared_is_said_with_the_reason(home: Path) -> None:
    fill(home)
    launches(Home(home), "decode_tps", [1.0], cell(workload=APP, quant="Q3_K_M"))
    ingest(Home(home))
    assert "no peak memory and no perplexity" in words(show(home, "frontier", device="laptop"))


def test_without_a_quality_it_says_what_to_measure(home: Path) -> None:
    launches(Home(home), "decode_tps", [1.0], cell(workload=APP))
    ingest(Home(home))
    assert "quantfarm sweep --model reference" in words(show(home, "frontier"))


def test_names_of_devices_are_shown_as_they_are(home: Path) -> None:
    fill(home, replace(LAPTOP, name=HOSTILE))
    shown = show(home, "frontier")
    words(shown)
    texts = [one.value for kind in ("markdown", "caption", "subheader", "warning") for one in getattr(shown, kind)]
    assert any(r"\<img src=x onerror=alert\(1\)\>" in text for text in texts)
    assert not any(re.search(r"(?<!\\)<img", text) for text in texts)
