"""quantfarm device, as a person and as a program use it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli import device
from flows import checks, devices, discover
from quantfarm import profiles
from quantfarm.errors import FarmError, UsageError
from quantfarm.health import By, DeviceState
from storage.devices import Registry
from storage.home import Home
from storage.ingest import ingest
from storage.journal import Damaged
from storage.reading import Reader
from tests.sweeping import counts, quantfarm
from tests.test_storage_devices import make_ready

S = DeviceState


def run(*arguments: str, code: int = 0) -> str:
    """A device command in this process; its stdout. Raises what it raises."""
    done = CliRunner().invoke(device.app, list(arguments), catch_exceptions=False, standalone_mode=False)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert (done.exit_code or done.return_value or 0) == code, done.output
    return done.stdout


def run_json(*arguments: str, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", code=code))


def add(name: str, *more: str, **script: object) -> dict[str, Any]:
    """A fake device, registered."""
    options = [word for key, value in script.items() for word in ("--option", f"{key}={value}")]
    return run_json("add", name, "fake", *options, *more)


def change(home: Path, name: str, **script: object) -> None:
    """The device behaves otherwise from now on."""
    path = home / "device_profiles" / f"{name}.yaml"
    body = yaml.safe_load(path.read_text())
    body["options"] = {**body.get("options", {}), **script}
    path.write_text(yaml.safe_dump(body))


def registry(home: Path) -> Registry:
    return Registry(Home(home))


def test_a_device_is_registered_listed_shown_and_measured_as_a_user_does_it(home: Path, prefect_server: str) -> None:
    said = quantfarm("device", "add", "bench", "fake", "--tag", "lab", "--option", "bandwidth_gib_s=5")
    assert "bench is registered" in said and "ready for: llama_cpp (bench, app, quality)" in said
    rows = {row["device"]: row for row in json.loads(quantfarm("device", "list", "--json"))}
    assert (rows["bench"]["state"], rows["bench"]["simulated"]) == ("ready", True)
    assert rows["fake-laptop"]["state"] == "not registered"
    tiny = ("--quants", "Q8_0", "--suite", "speed", "--launches", "1", "-p", "16", "-n", "8")
    assert counts("--tags", "lab", *tiny)["ok"] == 2
    page = quantfarm("device", "show", "bench")
    assert re.search(r"busy +farm +sweep ", page) and "a clean canary" not in page
    err = quantfarm("device", "add", "bench", "fake", code=2)
    assert "'bench' is registered already (ready)" in err and "--again" in err


def test_this_machine_is_registered_with_what_it_is_and_what_it_computes(home: Path) -> None:
    done = run_json("add", "desk", "local", "--idle-s", "0")
    profile = profiles.load([home / "device_profiles"])["desk"]
    here = devices.known(Home(home))["local"]
    assert (profile.kind, profile.chip, profile.cores, profile.os) == ("local", here.chip, here.cores, here.os)
    assert profile.platform.startswith(("linux-", "macos-"))
    assert "llama_cpp" in profile.runtimes
    assert dict(profile.builds)["llama_cpp"].startswith("llama-cpp-python ")
    assert set(profile.sensors).isdisjoint(dict(profile.missing))
    assert "perplexity" in done["canary"]
    canary = registry(home).canaries("desk")[-1]
    assert canary.figures["ppl"] > 1 and canary.clean and canary.conditions["os"] == here.os
    assert any("same machine as local" in text for text in done["warnings"])


def test_the_profile_says_what_was_found_with_comments_and_no_more_than_was_given(home: Path) -> None:
    add("bench", "--tag", "lab", "--tag", "desk", bandwidth_gib_s=12, noise=0.02)
    text = (home / "device_profiles" / "bench.yaml").read_text()
    assert text.startswith("# bench: registered ") and "# Sweeps may name a device by its tags." in text
    assert yaml.safe_load(text) == {
        "kind": "fake",
        "simulated": True,
        "chip": "simulated",
        "runtimes": ["llama_cpp"],
        "builds": yaml.safe_load(text)["builds"],
        "tags": ["lab", "desk"],
        "options": {"bandwidth_gib_s": 12, "noise": 0.02},
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "bench", "sssh://host"), "did you mean ssh?"),
        (("add", "bench", "host"), "unknown way to a device 'host'"),
        (("add", "bench", "ssh://me:secret@host"), "an address holds no password"),
        (("add", "Bench", "fake"), "'Bench' is no name for a device"),
        (("add", "../x", "fake"), "is no name for a device"),
        (("add", "fake-laptop", "fake"), "'fake-laptop' is a device that comes with quantfarm"),
        (("add", "local", "ssh://host"), "'local' is this machine itself"),
        (("add", "bench", "fake", "--option", "noise"), "it is KEY=VALUE"),
        (("show", "nobody"), "unknown device 'nobody'"),
        (("check", "nobody"), "unknown device 'nobody'"),
        (("check",), "say which devices to check, or --all"),
        (("quarantine", "nobody", "--reason", "so"), "unknown device 'nobody'"),
        (("release", "local"), "'local' is not registered, not quarantined"),
        (("remove", "local"), "'local' was not registered here"),
        (("remove", "nobody"), "unknown device 'nobody'"),
    ],
)
def test_a_wrong_request_is_one_message_and_leaves_nothing(home: Path, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        run(*arguments)
    assert not (home / "device_profiles").exists()
    assert registry(home).names() == []


def test_a_device_that_cannot_be_reached_has_a_record_and_no_profile(home: Path) -> None:
    with pytest.raises(FarmError, match="cannot be reached"):
        run("add", "bench", "ssh://127.0.0.1:1")
    assert not (home / "device_profiles").exists()
    assert registry(home).state("bench") is S.UNHEALTHY
    row = {one["device"]: one for one in run_json("list")}["bench"]
    assert row["way"] is None and "cannot be reached" in row["reason"]
    add("bench")  # the same name, once it is there
    assert registry(home).state("bench") is S.READY


def test_a_device_whose_canary_fails_is_not_registered(home: Path) -> None:
    with pytest.raises(
        FarmError, match="bench is unhealthy: bench pp64 tg32 under llama_cpp: run: killed by signal 11"
    ):
        add("bench", fault="crash")
    assert not (home / "device_profiles").exists()
    assert [canary.clean for canary in registry(home).canaries("bench")] == [False]


def test_a_profile_written_by_hand_is_registered_with_its_limits_targets_and_tags(home: Path) -> None:
    """As a template's copy is."""
    path = home / "device_profiles" / "bench.yaml"
    path.parent.mkdir(parents=True)
    path.write_text('kind: fake\nsimulated: true\ntags: [lab]\ntargets: {"decode_tps:Q4_K_M": ">= 35"}\n')
    add("bench", bandwidth_gib_s=5)
    profile = profiles.load([path.parent])["bench"]
    assert (profile.tags, profile.targets) == (("lab",), (("decode_tps:Q4_K_M", ">= 35"),))
    assert registry(home).state("bench") is S.READY


def test_again_registers_anew_and_keeps_what_the_person_wrote(home: Path) -> None:
    add("bench", "--tag", "lab", bandwidth_gib_s=5)
    path = home / "device_profiles" / "bench.yaml"
    path.write_text(path.read_text() + "\nlimits: {memory_mib: 3000}\n")
    add("bench", "--again", "--tag", "new", bandwidth_gib_s=7)
    profile = profiles.load([path.parent])["bench"]
    assert (profile.tags, profile.limits.memory_mib, profile.options) == (
        ("lab", "new"),
        3000,
        (("bandwidth_gib_s", 7),),
    )
    assert [row.to for row in registry(home).history("bench")][3:5] == [S.RETIRED, S.REGISTERED]
    series = [canary.series for canary in registry(home).canaries("bench")]
    assert series[0] != series[1]


def test_a_slower_device_is_quarantined_gets_no_work_and_comes_back_when_it_is_itself_again(home: Path) -> None:
    add("bench", bandwidth_gib_s=20)
    for _ in range(4):
        assert run_json("check", "bench")[0]["state"] == "ready"
    change(home, "bench", bandwidth_gib_s=15)
    (checked,) = run_json("check", "bench", code=1)
    assert checked["state"] == "quarantined"
    assert "bench_tg is 25 % slower than its own" in checked["text"]
    profile = devices.known(Home(home))["bench"]
    assert re.match(
        r"waits: bench is quarantined \(bench_tg is 25 % .*\); its cells run once", devices.unfit(Home(home), profile)
    )
    assert devices.ready(Home(home), [profile]) == ()
    assert run_json("check", "--all", code=1)[0]["state"] == "quarantined"
    change(home, "bench", bandwidth_gib_s=20)
    before = len(registry(home).canaries("bench"))
    assert run_json("check", "bench")[0]["text"].startswith("3 clean canaries: ")
    assert len(registry(home).canaries("bench")) == before + 3
    assert devices.unfit(Home(home), profile) == ""


def test_the_third_failed_check_in_a_row_is_quarantine(home: Path) -> None:
    add("bench")
    change(home, "bench", fault="oom")
    states = [run_json("check", "bench", code=1)[0]["state"] for _ in range(4)]
    assert states == ["unhealthy", "unhealthy", "quarantined", "quarantined"]


def test_what_a_person_quarantined_is_left_alone_until_released(home: Path) -> None:
    add("bench")
    run("quarantine", "bench", "--reason", "its fan is broken")
    (checked,) = run_json("check", "--all", code=1)
    assert "its fan is broken" in checked["text"] and checked["state"] == "quarantined"
    assert len(registry(home).canaries("bench")) == 1
    assert checks.registered(Home(home), held=False) == []
    with pytest.raises(UsageError, match="quarantined by a person"):
        add("bench", "--again")
    assert run_json("release", "bench")[0]["state"] == "ready"
    assert [row.to for row in registry(home).history("bench")][-3:] == [S.REGISTERED, S.CHECKING, S.READY]


def test_a_device_known_by_its_profile_alone_can_be_taken_out_of_use_too(home: Path) -> None:
    run("quarantine", "fake-laptop", "--reason", "not now")
    assert "not now" in devices.unfit(Home(home), devices.known(Home(home))["fake-laptop"])
    assert run_json("release", "fake-laptop", "--no-check") == {"device": "fake-laptop", "state": "registered"}
    assert devices.unfit(Home(home), devices.known(Home(home))["fake-laptop"])


def test_a_removed_device_keeps_its_record_and_its_profile_lies_aside(home: Path) -> None:
    add("bench")
    run("remove", "bench", "--reason", "sold")
    assert "bench" not in devices.known(Home(home))
    assert len(list((home / "device_profiles" / "retired").glob("bench-*.yaml"))) == 1
    assert "bench" not in {row["device"] for row in run_json("list")}
    assert {row["device"]: row["reason"] for row in run_json("list", "--all")}["bench"] == "sold"
    add("bench")
    assert registry(home).registrations("bench") == 2


def test_a_check_that_was_stopped_leaves_the_device_as_it_was(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add("bench")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checks.canary, "run", stop)
    run("check", "bench", code=130)
    assert [row.to for row in registry(home).history("bench")][-2:] == [S.CHECKING, S.READY]
    assert "stopped" in registry(home).history("bench")[-1].reason


def test_a_check_that_was_killed_is_gone_on_with(home: Path) -> None:
    add("bench")
    registry(home).move("bench", S.CHECKING, "a check that is then killed", By.FARM)
    assert devices.unfit(Home(home), devices.known(Home(home))["bench"])
    assert run_json("check", "bench")[0]["state"] == "ready"


def test_what_a_person_decides_during_a_check_stands(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add("bench")
    taken = checks.canary.run

    def and_then_quarantined(*arguments: Any) -> Any:
        done = taken(*arguments)
        registry(home).move("bench", S.QUARANTINED, "it smokes", By.PERSON)
        return done

    monkeypatch.setattr(checks.canary, "run", and_then_quarantined)
    (checked,) = run_json("check", "bench", code=1)
    assert (checked["state"], registry(home).history("bench")[-1].reason) == ("quarantined", "it smokes")


def test_a_backend_that_computes_otherwise_is_quarantined(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add("bench")
    question = checks.canary.question

    def of_another_model(*arguments: Any) -> Any:
        asked = question(*arguments)
        return replace(asked, perplexity=asked.perplexity * 1.01)

    monkeypatch.setattr(checks.canary, "question", of_another_model)
    with pytest.raises(
        FarmError, match=r"desk is quarantined: perplexity .* differs from .* a backend of desk computes"
    ):
        run("add", "desk", "local", "--idle-s", "0")
    assert registry(home).state("desk") is S.QUARANTINED
    assert not (home / "device_profiles" / "desk.yaml").exists()


def test_rows_reach_the_database_where_there_is_one(home: Path) -> None:
    ingest(Home(home))
    add("bench")
    run("quarantine", "bench", "--reason", "so")
    with Reader(Home(home)) as reader:
        rows = reader.query("SELECT state FROM device_transitions WHERE device = 'bench' ORDER BY number")
        assert [row["state"] for row in rows] == ["registered", "checking", "ready", "quarantined"]
        assert reader.query("SELECT count(*) AS n FROM canaries") == [{"n": 1}]


def test_discover_tells_what_is_not_registered_and_notes_a_source_that_is_not_there(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> list[discover.Seen]:
        raise UsageError("no adb client")

    nodes = [
        discover.Seen(url="ray://n1", what="n1"),
        discover.Seen(url="ray://n2", what="n2", state="its node is gone"),
    ]
    monkeypatch.setattr(discover, "SOURCES", {"adb": absent, "ray": lambda: nodes})
    found = run_json("discover")
    assert [one["url"] for one in found["devices"]] == ["ray://n1", "ray://n2"]
    assert found["notes"] == ["adb: no adb client"]
    folder = home / "device_profiles"
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text("kind: ray\naddress: n1\n")
    assert "quantfarm device add" not in run("discover")


def test_a_damaged_record_keeps_a_device_out_of_use(home: Path) -> None:
    make_ready(registry(home), "fake-laptop")
    path = home / "devices" / "fake-laptop" / "transitions.jsonl"
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    assert "is not known" in devices.unfit(Home(home), devices.known(Home(home))["fake-laptop"])
    with pytest.raises(Damaged, match="Mend or remove"):
        run("check", "fake-laptop")
