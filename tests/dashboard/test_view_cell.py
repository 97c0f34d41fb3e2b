"""The view of one measurement: its timeline, its figures, why it failed, and what an address may ask for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from quantfarm.nouns import DeviceProfile, Measurement
from storage.home import Home
from storage.ingest import ingest
from storage.names import trace_path
from tests.dashboard.showing import plainly, show, words
from tests.dashboard.sustaining import BEGIN
from tests.storing import APP, FAILED, cell, landed, put, sample

MS = 10**6
HOSTILE = "<script>x</script> **b** $y$ 名" + "z" * 160


def decode(repetition: int, at: int) -> list[str]:
    times = [at + (50 + 10 * n) * MS for n in range(6)]
    shared = {"mode": "app", "repetition": repetition, "t": times[-1]}
    prefill = {"event": "prefill", **shared, "tokens": 8, "depth": 0, "seconds": 0.05}
    return [json.dumps(prefill), json.dumps({"event": "decode", **shared, "submit": at, "times": times})]


LINES = [
    json.dumps(BEGIN),
    *(sample(n * 20 * MS, rss_mib=40.0 + n, cpu_c=50.0, cpu_mhz=2400.0, package_0_uj=n * 100_000.0) for n in range(12)),
    *decode(0, 10 * MS),
    *decode(1, 120 * MS),
    '{"event": "end", "ok": true}',
]
FIGURES = (
    Measurement(metric="decode_tps", value=100.0, unit="tok/s", n=2),
    Measurement(metric="ttft", value=0.05, unit="s", remark="invalid: the clock ran backwards"),
)


def measured(home: Path, **about) -> str:
    of = replace(cell(workload=APP), **about)
    said = {"settings": {"threads": 4, "flash_attn": "on"}, "backend": "CPU", "reproduce": "quantfarm sweep --again"}
    put(Home(home), landed(of, figures=FIGURES, **said), LINES)
    ingest(Home(home))
    return of.id


def test_a_measurement_shows_its_figures_conditions_command_and_trace(home: Path) -> None:
    of = measured(home)
    shown = show(home, "cell", cell=of, attempt="1")
    said = plainly(shown)
    for part in ("Q4_K_M of reference on laptop", "decode speed 100 tok/s", f"cell {of}, attempt 1", "N100",
                 "backend CPU", "time to first token invalid"):  # fmt: skip
        assert part in said, part
    assert "time to first token must not be used: the clock ran backwards" in said
    assert "quantfarm sweep --again" in [one.value for one in shown.code]
    assert any("Raw trace" in one.label for one in shown.get("download_button"))


def test_without_an_address_one_is_chosen_from_what_there_is(home: Path) -> None:
    measured(home)
    assert "Q4_K_M of reference on laptop" in plainly(show(home, "cell"))


def test_a_failed_one_says_at_which_stage_and_why(home: Path) -> None:
    put(Home(home), landed(cell(), outcome=FAILED))
    ingest(Home(home))
    assert "Failed while it was to load: out of memory." in plainly(show(home, "cell", cell=cell().id))


def test_one_that_is_not_there_is_one_clear_message(home: Path) -> None:
    measured(home)
    shown = show(home, "cell", cell="gone", attempt="7")
    assert "Measurement: gone is not among what was measured" in plainly(shown)
    assert len([one for one in shown.warning if "gone" in one.value]) == 1


def test_each_attempt_can_be_opened_and_the_one_that_counts_is_usual(home: Path) -> None:
    of = measured(home)
    put(Home(home), landed(cell(workload=APP), attempt=2, outcome=FAILED))
    ingest(Home(home))
    assert f"cell {of}, attempt 1" in plainly(show(home, "cell", cell=of))
    assert "Failed while it was to load" in plainly(show(home, "cell", cell=of, attempt="2"))


def test_a_trace_that_is_gone_is_said_and_what_the_store_has_is_shown(home: Path) -> None:
    of = measured(home)
    trace_path(Home(home), of, 1).unlink()
    said = plainly(show(home, "cell", cell=of))
    assert f"Its trace {of}.1.jsonl is gone" in said
    assert "Not recorded here: the time of each token" in said


def test_a_simulated_device_is_marked(home: Path) -> None:
    fake = DeviceProfile(name="fake", kind="fake", simulated=True, chip="simulated")
    of = measured(home, profile=fake)
    assert "Simulated device" in words(show(home, "cell", cell=of))


def test_names_of_the_world_are_shown_literally(home: Path) -> None:
    of = measured(home, profile=DeviceProfile(name=HOSTILE, chip=HOSTILE, cores=4))
    said = words(show(home, "cell", cell=of))
    assert "<script>" not in said
    assert "**b**" not in said
