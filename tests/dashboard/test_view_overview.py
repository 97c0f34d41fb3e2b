"""The first view: what each device should run, how it is, what the night said, what goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantfarm.health import By, DeviceState
from quantfarm.nightly.verdicts import NightReport
from quantfarm.nouns import DeviceProfile, Plan
from storage import nights, sweeps
from storage.devices import Registry
from storage.home import Home
from storage.ingest import ingest
from tests.alerting import key, regression, unchanged
from tests.dashboard.showing import plainly, show, words
from tests.storing import APP, FAILED, LAPTOP, QUALITY, QUALITY_LINES, cell, chunk, landed, put

HOSTILE = "<script>x</script> **b** $y$ 名" + "z" * 160
FAKE = DeviceProfile(name="fake-phone", kind="fake", simulated=True, chip="simulated", cores=4)


def measured(home: Path, profile: DeviceProfile = LAPTOP) -> None:
    """F16 and a Q4_K_M twice as fast that loses 1 % of quality; six launches of each."""
    for quant, speed, memory, loss in (("F16", 20.0, 2000.0, 0.0), ("Q4_K_M", 40.0, 900.0, 0.01)):
        for number in range(6):
            of = replace(cell(quant=quant, workload=APP, profile=profile), launch=number)
            figures = {"decode_tps": speed + number / 10, "resident_peak": memory + number / 10}
            put(Home(home), landed(of, figures=figures, governor="performance"))
        lines = (QUALITY_LINES[0], QUALITY_LINES[1], chunk(0, [1.0 + loss, 2.0 + loss]), chunk(1, [0.5 + loss] * 3),
                 QUALITY_LINES[-1])  # fmt: skip
        put(
            Home(home), landed(cell(quant=quant, workload=QUALITY, profile=profile), figures={"ppl": 3.0 + loss}), lines
        )
    ingest(Home(home))


def metrics(shown) -> dict[str, str]:
    return {one.label: one.value for one in shown.metric}


def test_a_first_user_is_told_the_command(home: Path) -> None:
    shown = show(home, "overview")
    assert "Nothing has been measured yet" in plainly(shown)
    assert shown.code[0].value.startswith("quantfarm sweep --model reference")


def test_a_device_has_its_default_with_numbers_confidence_and_conditions(home: Path) -> None:
    measured(home)
    shown = show(home, "overview")
    said = plainly(shown)
    assert "Run ★ Q4_K_M of reference" in said
    assert metrics(shown)["decode speed (tok/s)"] == "40.2"
    assert metrics(shown)["memory (MiB)"] == "900"
    assert metrics(shown)["perplexity"] == "+1.0 %"
    assert "6 launches" in said
    assert "N100" in said
    assert "Conditions: laptop (N100) · llama-cpp-python 0.3.36 · governor performance" in said
    assert "not registered" in said


def test_health_verdicts_and_targets_stand_beside_it(home: Path) -> None:
    measured(home)
    registry = Registry(Home(home))
    registry.move("laptop", DeviceState.REGISTERED, "added", By.PERSON)
    registry.failed("laptop", "no route to host")
    report = NightReport(
        night="2026-11-12", began_at="2026-11-12T02:00:00", finished_at="2026-11-12T03:00:00", counts={"ok": 7},
        verdicts=(regression(key("laptop")), unchanged(key("laptop", metric="ttft"))),
    )  # fmt: skip
    nights.keep(Home(home), report)
    Home(home).folder("device_profiles").joinpath("laptop.yaml").write_text(
        'targets: {"decode_tps:Q4_K_M": ">= 50", "resident_peak:Q4_K_M": "<= 1000", "bench_tg:Q8_0": 5}\n'
    )
    ingest(Home(home))
    said = plainly(show(home, "overview"))
    for part in ("unhealthy", "no route to host", "1 regression", "1 unchanged", "Last night, 2026-11-12",
                 "1 missed", "1 met", "1 not measured",
                 "decode_tps:Q4_K_M ≥ 50 tok/s: missed, 40.2 tok/s (Q4_K_M)"):  # fmt: skip
        assert part in said, part
    assert said.index("1 regression") < said.index("1 unchanged")


def test_a_simulated_device_has_no_default_and_comes_last(home: Path) -> None:
    measured(home, FAKE)
    shown = show(home, "overview")
    said = words(shown)
    assert "Simulated device" in said
    assert "Run ★" not in said
    assert not shown.metric


def test_a_device_that_only_failed_says_so(home: Path) -> None:
    put(Home(home), landed(cell(), outcome=FAILED))
    ingest(Home(home))
    assert "Nothing was measured on it yet. 1 measurement failed." in plainly(show(home, "overview"))


def test_a_running_sweep_shows_how_far_it_is_before_anything_is_published(home: Path) -> None:
    plan = Plan(cells=tuple(cell(launch=number) for number in range(4)))
    sweeps.record(Home(home), "s1", "reference", {"devices": ["laptop"]}, plan)
    with sweeps.running(Home(home), "s1"):
        put(Home(home), landed(plan.cells[0]))
        shown = show(home, "overview")
    assert "Measuring reference on laptop" in plainly(shown)
    assert "1 of 4 measurements" in shown.get("progress")[0].proto.text.replace("\\", "")


def test_a_profile_that_cannot_be_read_is_said_and_hides_nothing(home: Path) -> None:
    measured(home)
    Home(home).folder("device_profiles").joinpath("attic.yaml").write_text("colour: green\n")
    said = plainly(show(home, "overview"))
    assert "attic.yaml" in said
    assert "Run ★ Q4_K_M" in said


def test_names_of_the_world_are_shown_literally(home: Path) -> None:
    measured(home, DeviceProfile(name=HOSTILE, chip=HOSTILE, cores=4))
    said = words(show(home, "overview"))
    assert "<script>" not in said
    assert "**b**" not in said
