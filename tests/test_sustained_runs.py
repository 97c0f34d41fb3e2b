"""Sustained load as a user starts it: on a simulated device whose heat can be worked out by hand, and for real."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from quantfarm import metrics
from quantfarm.metrics.sustained import sustained
from quantfarm.nouns import Landed, Measurement, metric_of
from quantfarm.runtimes.events import parse
from tests.running import RUNNERS, Ran, llama_cpp, run
from tests.sweeping import counts, landings, quantfarm

STEADY = {"sustained_steady", "throttle_ratio", "time_to_steady"}
SUITE = ("--suite", "sustained", "--quants", "F16", "--launches", "1")
#: What the devices' heat is made of: agents/fake_heat.py.
DEVICES: Mapping[str, Mapping[str, float]] = {
    "throttling": {"heat_c_per_s": 3, "cool_s": 10, "throttle_c": 60, "throttle_to": 0.5},
    "slowing": {"heat_c_per_s": 0.1, "cool_s": 1e4, "throttle_c": 36, "slow_per_c": 0.008},
    "warming": {"heat_c_per_s": 0.1, "cool_s": 600},
}


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory, _server: str) -> dict[str, str]:
    """One sweep over the three simulated devices, each making a token of this model in 20 ms when cool, without
    noise, and reading a prompt at 32 tokens a second. Their environment."""
    folder = tmp_path_factory.mktemp("farm")
    reference = RUNNERS.parent / "reference_model" / "reference-F16.gguf"
    speed = {"bandwidth_gib_s": reference.stat().st_size / 0.02 / 2**30, "prefill_tps": 32.0, "noise": 0.0}
    profiles = folder / "home" / "device_profiles"
    profiles.mkdir(parents=True)
    for name, heat in DEVICES.items():
        body: dict[str, Any] = {"kind": "fake", "simulated": True, "chip": "simulated", "cores": 4, "memory_mib": 8192}
        (profiles / f"{name}.yaml").write_text(json.dumps({**body, "options": {**speed, **heat}}))
    environment = {"QUANTFARM_HOME": str(folder / "home"), "QUANTFARM_LEASES": str(folder / "leases")}
    environment["PREFECT_API_URL"] = _server
    assert counts("--devices", ",".join(DEVICES), *SUITE, **environment)["ok"] == len(DEVICES)
    return environment


@pytest.fixture(scope="module")
def landed(farm: Mapping[str, str]) -> dict[str, Landed]:
    return {one.cell.profile.name: one for one in landings(Path(farm["QUANTFARM_HOME"])).all()}


def figure(landed: Landed, metric: str) -> Measurement:
    found = metric_of(landed.measurements, metric)
    assert found, landed.measurements
    return found


def test_a_device_with_a_known_heat_has_the_steady_rate_that_its_physics_give(landed: Mapping[str, Landed]) -> None:
    """A run is a prompt of 32 tokens in 1 s and 499 steps of 20 ms: 10.98 s. The temperature tends to 35 + 3·10 =
    65 °C, T(t) = 65 - 30·e^(-t/10), and is 60 °C at t = 10·ln 6 = 17.918 s, in the second run, which goes on at
    half the speed: 10.98 + 6.938 + 2·(10.98 - 6.938) = 26.00 s, when the third begins. That is the steady one."""
    one = landed["throttling"]
    assert figure(one, "sustained_first").value == pytest.approx(50.0, rel=1e-6)
    steady = figure(one, "sustained_steady")
    assert (steady.value, steady.low, steady.high) == pytest.approx((25.0, 25.0, 25.0), rel=1e-6)
    assert (steady.n, steady.remark) == (8, "runs 3 to 10")
    assert figure(one, "throttle_ratio").value == pytest.approx(0.5, rel=1e-6)
    assert figure(one, "time_to_steady").value == pytest.approx(26.00, abs=0.03)  # it throttles from token to token
    assert figure(one, "temperature_max").value == pytest.approx(65.0, abs=0.1)


def test_a_device_that_never_settles_has_no_steady_number(landed: Mapping[str, Landed]) -> None:
    """It warms by a tenth of a degree a second for hours and loses 0.8 % of its speed with each degree."""
    assert not STEADY & {one.metric for one in landed["slowing"].measurements}
    assert figure(landed["slowing"], "not_steady").value == 30
    assert "the rate" in figure(landed["slowing"], "not_steady").remark


def test_steady_rates_of_a_device_that_still_warms_up_are_not_steady(landed: Mapping[str, Landed]) -> None:
    """It does not throttle in its 110 s; in the last minute it warms by 6·e^(-80/600) = 5.3 °C/min."""
    assert not STEADY & {one.metric for one in landed["warming"].measurements}
    assert figure(landed["warming"], "not_steady").value == 10
    assert figure(landed["warming"], "not_steady").remark == "the temperature was still rising 5.3 °C/min"


def test_no_steady_number_of_them_is_in_the_store_either(farm: Mapping[str, str]) -> None:
    rows = json.loads(quantfarm("results", "--json", **farm))
    steady = {row["device"] for row in rows if row["metric"] in STEADY}
    assert steady == {"throttling"}
    (rate,) = (row for row in rows if row["metric"] == "sustained_steady")
    assert (rate["low"], rate["high"], rate["n"]) == pytest.approx((25.0, 25.0, 8))
    why = {row["device"]: row["reason"] for row in rows if row["metric"] == "not_steady"}
    assert "the rate" in why["slowing"]
    assert "still rising" in why["warming"]
    assert all(row["simulated"] for row in rows)


def test_the_report_shows_each_of_them_as_simulated_and_steady_numbers_of_one(
    farm: Mapping[str, str], tmp_path: Path
) -> None:
    quantfarm("report", "--out", str(tmp_path), **farm)
    text = (tmp_path / "BENCHMARK.md").read_text()
    assert "Throttles to 50 % of the first run's rate: 25.0 tok/s (25.0–25.0) from 26 s on (run 3)" in text
    assert text.count("Not steady, so there is no steady rate") == 2
    drawn = {path.name.partition("-")[0]: path.read_text() for path in (tmp_path / "docs/plots").glob("*throttle*")}
    assert set(drawn) == set(DEVICES)
    assert all("(simulated)" in one for one in drawn.values())
    assert all(f"]({path.relative_to(tmp_path)})" in text for path in (tmp_path / "docs/plots").glob("*throttle*"))


# --- for real, on the reference model ---


@pytest.fixture(scope="module")
def real() -> Ran:
    model = RUNNERS.parent / "reference_model" / "reference-F16.gguf"
    extension = str(RUNNERS / "llama_cpp_sustained.py")
    sizes = {"n_prompt": 8, "n_gen": 20, "runs": 10, "more": 5, "most": 15}
    return run(llama_cpp("sustained", model, extension=extension, **sizes))


def test_the_runner_makes_ten_runs_or_fifteen_of_twenty_tokens(real: Ran) -> None:
    assert real.end["ok"], real.end
    decoded = real.of("decode")
    assert len(decoded) in (10, 15)
    assert [event["repetition"] for event in decoded] == list(range(len(decoded)))
    assert {len(event["times"]) for event in decoded} == {20}
    (settings,) = real.of("sustained")
    assert {name: settings[name] for name in ("runs", "more", "most", "n_gen")} == {
        **{"runs": 10, "more": 5, "most": 15, "n_gen": 20}
    }


def test_its_trace_has_a_first_rate_and_an_answer_to_whether_it_is_steady(real: Ran) -> None:
    trace = parse(real.lines)
    found = sustained(trace)
    assert found
    assert found.runs[0].rate > 0
    assert found.verdict.steady == bool(STEADY & {one.metric for one in metrics.measure(trace)})


@pytest.mark.parametrize("wrong", [{"n_gen": 1}, {"runs": 0}, {"most": None}])
def test_a_request_that_cannot_be_is_refused(wrong: dict[str, Any], reference: Path) -> None:
    sizes = {"n_prompt": 8, "n_gen": 20, "runs": 10, "more": 5, "most": 15, **wrong}
    found = run(llama_cpp("sustained", reference, extension=str(RUNNERS / "llama_cpp_sustained.py"), **sizes))
    assert (found.end["ok"], found.end["stage"]) == (False, "request")
    assert next(iter(wrong)) in found.end["error"]
