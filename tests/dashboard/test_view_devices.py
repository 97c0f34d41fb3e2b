"""The view of the devices: what each is, how it is and was, and how one is added."""

from __future__ import annotations

from pathlib import Path

from quantfarm.health import By, Canary, DeviceState
from quantfarm.nouns import DeviceProfile
from storage import wanted
from storage.devices import Registry
from storage.home import Home
from storage.ingest import ingest
from tests.dashboard.showing import plainly, show, words
from tests.storing import cell, landed, put

PROFILE = """kind: ssh
address: me@desk
chip: Intel N100
cores: 4
memory_mib: 16384
sensors: [proc_memory]
missing: {rapl: permission denied}
targets: {"bench_tg:Q4_K_M": 45}
"""


def canary(number: int, *, clean: bool = True, tg: float = 300.0) -> Canary:
    return Canary(
        device="desk", at=f"2026-11-{number:02d}T03:00:00.000+00:00", series="a", runtime="llama_cpp", build="b1",
        clean=clean, why="" if clean else "bench_tg is 20 % slower", figures={"bench_tg": tg, "ppl": 73.3},
        conditions={"os": "Debian 13"},
    )  # fmt: skip


def registered(home: Path) -> Registry:
    Home(home).folder("device_profiles").joinpath("desk.yaml").write_text(PROFILE)
    registry = Registry(Home(home))
    registry.move("desk", DeviceState.REGISTERED, "added", By.PERSON)
    registry.move("desk", DeviceState.CHECKING, "first check", By.FARM)
    registry.add(canary(1))
    registry.move("desk", DeviceState.READY, "1 clean canary", By.FARM)
    return registry


def tables(shown) -> list[dict[str, str]]:
    return [row for frame in shown.dataframe for row in frame.value.to_dict("records")]


def test_without_a_device_it_says_how_one_is_registered(home: Path) -> None:
    shown = show(home, "devices")
    assert "There is no device yet" in plainly(shown)
    commands = " ".join(one.value for one in shown.code)
    for way in ("ssh://", "adb://", "ray://"):
        assert way in commands
    assert not home.exists(), "a look made something"


def test_a_device_has_its_facts_sensors_state_and_canaries_before_any_result(home: Path) -> None:
    registered(home)
    shown = show(home, "devices", device="desk")
    said = plainly(shown)
    assert "ready" in said
    assert "by farm: 1 clean canary" in said
    rows = tables(shown)
    assert {"fact": "chip", "value": "Intel N100"} in rows
    assert {"fact": "target bench_tg:Q4_K_M", "value": "45 tok/s"} in rows
    assert {"sensor": "rapl", "there": "no", "why not": "permission denied"} in rows
    assert [row["state"] for row in rows if "state" in row] == ["ready", "checking", "registered"]
    assert "Conditions: llama_cpp · b1 · os Debian 13" in said


def test_a_canary_that_was_not_clean_is_said(home: Path) -> None:
    registered(home).add(canary(2, clean=False, tg=240.0))
    assert "The last one was not clean: bench_tg is 20 % slower" in plainly(show(home, "devices", device="desk"))


def test_who_waits_for_it_is_told_and_what_cannot_be_known(home: Path) -> None:
    registered(home)
    with wanted.waiting(Home(home), "desk", 0, "sweep s7 on another machine"):
        said = plainly(show(home, "devices", device="desk"))
    assert "Waits for it: sweep s7 on another machine" in said
    assert "only its agent can read that" in said


def test_a_measured_device_needs_no_registration(home: Path) -> None:
    put(Home(home), landed(cell()))
    ingest(Home(home))
    shown = show(home, "devices")
    assert "not registered" in plainly(shown)
    assert {"fact": "chip", "value": "N100"} in tables(shown)


def test_a_simulated_device_is_marked_and_comes_after_real_ones(home: Path) -> None:
    put(Home(home), landed(cell(profile=DeviceProfile(name="a-fake", kind="fake", simulated=True, chip="simulated"))))
    put(Home(home), landed(cell()))
    ingest(Home(home))
    assert "Simulated" not in words(show(home, "devices"))
    assert "Simulated device" in words(show(home, "devices", device="a-fake"))


def test_a_damaged_record_is_said_and_hides_nothing(home: Path) -> None:
    registered(home)
    (home / "devices" / "desk" / "transitions.jsonl").write_text("[]\n{}\n")
    shown = show(home, "devices", device="desk")
    assert "transitions.jsonl" in plainly(shown)
    assert {"fact": "chip", "value": "Intel N100"} in tables(shown)
