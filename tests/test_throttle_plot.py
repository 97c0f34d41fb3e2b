"""The picture of sustained load: what it must show, and what it must not say."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from quantfarm.metrics.sustained import sustained
from quantfarm.report.throttle_plot import throttle_svg
from quantfarm.report.throttles import Throttle
from tests.test_sustained import looks, runs, trace

SVG = "{http://www.w3.org/2000/svg}"
STEADY = trace(*runs([10] * 3 + [20] * 7, tokens=501), *looks("skin_therm_c", 41.0))
RISING = trace(*runs([10 + 0.3 * i for i in range(30)], tokens=501))


def drawn(of: Any, **more: Any) -> str:
    found = sustained(of)
    assert found
    about: dict[str, Any] = {"device": "phone", "model": "reference", "variant": "Q4_K_M", "build": "llama.cpp b1"}
    return throttle_svg(Throttle(found=found, **{**about, **more}))


def words(svg: str) -> str:
    return " | ".join("".join(one.itertext()) for one in ET.fromstring(svg).iter(f"{SVG}text"))  # noqa: S314 - ours


def test_it_says_the_ratio_the_rate_and_when_in_words() -> None:
    said = words(drawn(STEADY))
    assert "Sustained load: reference Q4_K_M on phone" in said
    assert "Throttles to 50 % of the first run's rate: 25.0 tok/s (25.0–25.0) from 32 s on (run 4)" in said
    for part in ("decode speed by run (tok/s)", "°C", "skin_therm_c", "steady", "time since the first prompt (s)"):
        assert part in said


def test_it_states_its_conditions_and_what_is_not_known() -> None:
    said = words(drawn(STEADY, chip="Tensor G3", conditions={"on_mains": False, "governor": "schedutil"}))
    assert (
        "phone · Tensor G3 · Q4_K_M · llama.cpp b1 · on battery, governor schedutil · ambient temperature unknown"
        in said
    )
    assert "power mode unknown" in words(drawn(STEADY))
    assert "hot start" in words(drawn(STEADY, conditions={"hot_start": True}))


def test_what_is_not_steady_has_its_reason_and_no_steady_number() -> None:
    said = words(drawn(RISING))
    assert "Not steady, so there is no steady rate: the rate was still changing half-way through 30 runs" in said
    assert "filled" not in said
    assert "%" not in said


def test_without_a_thermometer_it_says_so_and_has_no_second_panel() -> None:
    said = words(drawn(RISING))
    assert "temperature unknown · ambient temperature unknown" in said
    assert "°C" not in said


def test_a_simulated_device_is_marked_as_one() -> None:
    said = words(drawn(STEADY, simulated=True))
    assert "on phone (simulated)" in said
    assert "Made up by a script: nothing was measured." in said
    assert "simulated" not in words(drawn(STEADY))


def test_a_device_that_does_not_throttle_is_not_said_to() -> None:
    said = words(drawn(trace(*runs([10] * 10, tokens=501))))
    assert "Does not throttle: 50.0 tok/s" in said


def test_the_same_launch_gives_the_same_picture() -> None:
    assert drawn(STEADY) == drawn(STEADY)
