"""The view of sustained load: what each device keeps once it is warm, and what cannot be said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantfarm.nouns import DeviceProfile, Workload, parameters
from storage.home import Home
from storage.ingest import ingest
from storage.names import trace_path
from tests.dashboard.showing import plainly, show, words
from tests.dashboard.sustaining import PIXEL, RISES, put_load
from tests.storing import FAILED, cell, landed, launches, put

FAKE = DeviceProfile(name="fake-phone", kind="fake", simulated=True, chip="simulated", cores=4)


def opened(home: Path, **choices: str | list[str]):
    ingest(Home(home))
    return show(home, "thermal", **choices)


def table(shown) -> list[dict[str, str]]:
    return shown.dataframe[0].value.to_dict("records")


def test_without_sustained_load_it_says_how_it_is_measured(home: Path) -> None:
    launches(Home(home), "bench_tg", [1.0], cell())
    shown = opened(home)
    assert "Nothing was measured under sustained load yet" in words(shown)
    assert shown.code[0].value == "quantfarm sweep --model reference --suite sustained"


def test_devices_stand_beside_each_other_with_first_and_steady_rate(home: Path) -> None:
    put_load(Home(home))
    put_load(Home(home), [12.0] * 12, profile=replace(PIXEL, name="desk"), reading="")
    shown = opened(home)
    desk, pixel = table(shown)
    assert (pixel["first run (tok/s)"], pixel["steady (tok/s)"]) == ("50.0", "25.0 (25.0–25.0)")
    assert (pixel["throttle ratio"], pixel["time to steady (s)"], pixel["highest (°C)"]) == ("0.500", "32", "41.0")
    assert pixel["energy (J/token)"] == "not measured"
    assert (desk["throttle ratio"], desk["highest (°C)"]) == ("1.00", "–")
    said = plainly(shown)
    assert "Throttles to 50 % of the first run's rate: 25.0 tok/s (25.0–25.0) from 32 s on (run 4)" in said
    assert "Tensor G3 · llama-cpp-python 0.3.36 · 4 threads · on battery, governor schedutil" in said
    assert "temperature unknown" in said


def test_what_did_not_settle_has_the_reason_and_no_steady_number(home: Path) -> None:
    put_load(Home(home), RISES)
    shown = opened(home)
    (row,) = table(shown)
    assert (row["steady (tok/s)"], row["throttle ratio"]) == ("not steady", "–")
    assert "the rate was still changing half-way through 12 runs" in row["remark"]
    assert "Not steady, so there is no steady rate" in words(shown)


def test_a_simulated_device_is_not_chosen_beside_real_ones_and_is_marked(home: Path) -> None:
    put_load(Home(home))
    put_load(Home(home), profile=FAKE)
    shown = opened(home)
    assert [row["device"] for row in table(shown)] == ["pixel"]
    assert "Simulated" not in words(shown)
    shown = opened(home, device=["fake-phone"])
    assert "Simulated device" in words(shown)
    assert table(shown)[0]["remark"] == "simulated, not measured"


def test_a_launch_that_failed_says_why(home: Path) -> None:
    load = Workload(kind="sustained", parameters=parameters(n_gen=500, runs=10))
    put(Home(home), landed(cell(workload=load, profile=PIXEL), outcome=FAILED))
    shown = opened(home)
    assert "load: out of memory" in plainly(shown)
    assert table(shown)[0]["remark"] == "load: out of memory"


def test_a_trace_that_is_gone_is_said(home: Path) -> None:
    of = put_load(Home(home))
    ingest(Home(home))
    trace_path(Home(home), of, 1).unlink()
    assert "its trace cannot be read: quantfarm db verify says why" in plainly(opened(home))
