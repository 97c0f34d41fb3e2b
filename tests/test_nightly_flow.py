"""A night through the real flow: measured, judged, measured again, told by the run's state and its report."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import devices
from flows.up.api import Api
from quantfarm.nightly.verdicts import Kind, NightReport, Verdict
from quantfarm.nouns import Landed, metric_of
from storage import nights
from storage.home import Home
from storage.ingest import rebuild
from storage.landing import Landings
from storage.reading import Reader
from storage.verify import verify
from tests.nights import night, put
from tests.sweeping import quantfarm

#: What a fake device decodes of the reference model's F16 file is proportional to its bandwidth.
BANDWIDTH = 20.0
#: Nights before it are history.
TODAY = 20


def device(home: Path, name: str = "desk", **options: Any) -> None:
    folder = home / "device_profiles"
    folder.mkdir(parents=True, exist_ok=True)
    body = {"kind": "fake", "simulated": True, "chip": "simulated", "cores": 4, "memory_mib": 8192}
    body |= {"os": options.pop("os", "simulated 1"), "builds": options.pop("builds", {"llama_cpp": "fake 1"})}
    script = {"bandwidth_gib_s": BANDWIDTH, "noise": 0.001, **options}
    (folder / f"{name}.yaml").write_text(json.dumps({**body, "options": script}))


def watch(home: Path, *, quality: bool = False, model: str = "reference", **other: Any) -> None:
    bench = {"kind": "bench", "n_prompt": 32, "n_gen": 8}
    workload = {"kind": "quality", "n_chunks": 2} if quality else bench
    body: dict[str, Any] = {
        "watches": [
            {
                "model": model,
                "devices": ["desk"],
                "quants": ["F16"],
                "launches": 1,
                "workloads": [workload],
                "common": {"threads": 1},
                "retries": 0,
            }
        ],
        "metrics": ["bench_tg"],
        "pairs": 6,
        **other,
    }
    home.mkdir(parents=True, exist_ok=True)
    (home / "nightly.yaml").write_text(json.dumps(body))


@pytest.fixture
def farm(home: Path, prefect_server: str) -> Iterator[Path]:
    """Whatever of Prefect this process has imported before, it uses the tests' server."""
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    device(home)
    watch(home)
    with temporary_settings({PREFECT_API_URL: os.environ["PREFECT_API_URL"], PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield home


def measured(home: Path, number: int, **given: Any) -> NightReport:
    """The number-th night, through the flow; its state is kept in `states`."""
    from flows.nightly import nightly

    state = nightly(night=night(number), return_state=True, **given)  # type: ignore[call-arg]
    states.append((state.name, state.message))
    report = nights.report(Home(home), night(number))
    assert report, state.message
    return report


states: list[tuple[str | None, str | None]] = []


def page_of(night: str) -> str:
    """What the run of a night shows in Prefect's UI."""
    found = Api(os.environ["PREFECT_API_URL"]).post("/artifacts/filter", {"artifacts": {"key": {"any_": ["nightly"]}}})
    return next(one["data"] for one in found if one["data"].startswith(f"# Night {night}\n"))


def only(report: NightReport) -> Verdict:
    (verdict,) = report.verdicts
    return verdict


def history(home: Path, steady: int = TODAY, metric: str = "bench_tg", **other: Any) -> Landed:
    """Nights before TODAY with 0.1 % of noise around what the device does; one of them was really measured."""
    measured(home, 0)
    (landed,) = Landings(Home(home)).all()
    figure = metric_of(landed.measurements, metric)
    assert figure
    for number in range(1, steady):
        value = figure.value * (1 + 0.001 * ((number * 7) % 5 - 2) / 2)
        conditions = {key: landed.conditions[key] for key in ("os", "versions", "system", "backend", "settings")}
        put(
            home,
            landed.cell,
            night(number),
            {metric: value},
            attempt=number + 1,
            artifact=landed.artifact,
            **{**conditions, **other},
        )
    return landed


def test_the_first_night_is_young_and_marked_as_simulated(farm: Path) -> None:
    verdict = only(measured(farm, 0))
    assert (verdict.kind, verdict.simulated) == (Kind.YOUNG, True)
    assert verdict.new
    assert verdict.new.unit == "tok/s"
    assert states[-1] == ("Completed", f"{night(0)}: 1 too young to say")


def test_steady_nights_say_nothing_and_run_nothing_twice(farm: Path) -> None:
    history(farm)
    report = measured(farm, TODAY)
    assert (only(report).kind, report.counts["ok"]) == (Kind.UNCHANGED, 1)
    assert states[-1] == ("Completed", f"{night(TODAY)}: 1 unchanged")
    landed = len(list(Landings(Home(farm)).all()))
    assert measured(farm, TODAY) == report
    assert states[-1] == ("Completed", f"{night(TODAY)}: measured already")
    assert len(list(Landings(Home(farm)).all())) == landed


def test_a_step_is_found_within_three_nights_confirmed_by_repeat_and_told_once(farm: Path) -> None:
    history(farm)
    device(farm, bandwidth_gib_s=0.95 * BANDWIDTH)
    told = [only(measured(farm, TODAY + number)) for number in range(5)]
    kinds = [verdict.kind for verdict in told]
    found = kinds.index(Kind.REGRESSION)
    assert found < 3
    assert kinds.count(Kind.REGRESSION) == 1
    verdict = told[found]
    assert verdict.confirmation
    assert (verdict.confirmation.how, verdict.confirmation.n) == ("repeat", 6)
    assert verdict.ratio == pytest.approx(0.95, abs=0.005)
    assert (verdict.first_bad, verdict.last_good) == (night(TODAY), night(TODAY - 1))
    assert verdict.suspect == "nothing that is recorded changed"
    assert "## Regressions (1)\n\n| series | old → new |" in page_of(night(TODAY + found))
    assert states[found - 5] == ("Regressed", f"{night(TODAY + found)}: 1 regression")
    assert told[-1].reason == f"regression of {night(TODAY)}, told then"
    assert states[-1][0] == "Completed"


def test_a_slow_spell_that_is_over_when_it_is_measured_again_is_noise(
    farm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed = history(farm, TODAY - 2)
    figure = metric_of(landed.measurements, "bench_tg")
    assert figure
    conditions = {key: landed.conditions[key] for key in ("os", "versions", "system", "backend", "settings")}
    for number in (TODAY - 2, TODAY - 1, TODAY):  # slow nights; tonight's own cell is there already
        put(
            farm,
            landed.cell,
            night(number),
            {"bench_tg": 0.9 * figure.value * (1 + number / 10000)},
            attempt=number + 1,
            artifact=landed.artifact,
            **conditions,
        )
    report = measured(farm, TODAY)
    assert report.counts["known"] == 1
    assert only(report).kind is Kind.NOISE
    assert not only(report).alerts
    assert states[-1][0] == "Completed"


def test_a_new_system_is_not_compared(farm: Path) -> None:
    history(farm)
    device(farm, os="simulated 2", bandwidth_gib_s=0.5 * BANDWIDTH)
    verdict = only(measured(farm, TODAY))
    assert (verdict.kind, verdict.suspect) == (Kind.NOT_COMPARABLE, "os simulated 1 → simulated 2")
    assert verdict.changed == {"os": ("simulated 1", "simulated 2")}
    assert only(measured(farm, TODAY + 1)).kind is Kind.YOUNG


def test_a_build_that_a_device_cannot_be_given_is_not_compared(farm: Path) -> None:
    device(farm, builds={"llama_cpp": "old 1"})
    history(farm)
    device(farm, bandwidth_gib_s=0.9 * BANDWIDTH)
    verdict = only(measured(farm, TODAY))
    assert verdict.kind is Kind.NOT_COMPARABLE
    assert "desk is simulated: there is nothing to install a build on" in verdict.reason


def model(farm: Path, folder: str, data: bytes) -> Path:
    """A model of the same name in another folder: watched from now on."""
    path = farm / folder / "model.gguf"
    path.parent.mkdir()
    path.write_bytes(data)
    watch(farm, model=str(path))
    return path


def test_a_file_that_is_slower_is_found_the_same_night_by_measuring_old_and_new_in_turns(
    farm: Path, reference: Path
) -> None:
    whole = reference.read_bytes()
    model(farm, "old", whole)
    history(farm)
    model(farm, "new", whole + bytes(len(whole) // 10))  # a tenth more to read for each token
    verdict = only(measured(farm, TODAY))
    assert verdict.kind is Kind.REGRESSION
    assert verdict.confirmation
    assert (verdict.confirmation.how, verdict.confirmation.n) == ("interleaved", 6)
    assert verdict.ratio == pytest.approx(1 / 1.1, abs=0.005)
    assert verdict.suspect.startswith("the model's file ")
    assert (verdict.first_bad, verdict.last_good) == (night(TODAY), night(TODAY - 1))
    assert only(measured(farm, TODAY + 1)).kind is Kind.YOUNG


def test_a_file_that_is_gone_cannot_be_measured_beside_the_new_one(farm: Path, reference: Path) -> None:
    whole = reference.read_bytes()
    old = model(farm, "old", whole)
    history(farm)
    old.unlink()
    model(farm, "new", whole + bytes(len(whole) // 10))
    verdict = only(measured(farm, TODAY))
    assert verdict.kind is Kind.NOT_COMPARABLE
    assert "is not in the store any more" in verdict.reason


def test_a_device_that_is_away_is_no_data_with_the_reason(farm: Path) -> None:
    history(farm)
    device(farm, fault="crash")
    report = measured(farm, TODAY)
    assert only(report).kind is Kind.NO_DATA
    assert "GGML_ASSERT failed" in only(report).reason
    assert states[-1] == ("NoData", f"{night(TODAY)}: no data from 1 device")
    assert (only(report).last_good, only(report).simulated) == (night(TODAY - 1), True)


def test_a_quarantined_device_is_no_data_with_that_reason(farm: Path) -> None:
    history(farm)
    devices.quarantine(Home(farm), "desk", "its fan is loud")
    verdict = only(measured(farm, TODAY))
    assert verdict.kind is Kind.NO_DATA
    assert "its fan is loud" in verdict.reason


def test_a_metric_that_is_not_there_any_more_is_missed(farm: Path) -> None:
    watch(farm, metrics=["bench_tg", "energy_per_token"])
    landed = history(farm)
    conditions = {key: landed.conditions[key] for key in ("os", "versions", "system", "backend", "settings")}
    for number in range(1, TODAY):
        put(
            farm,
            landed.cell,
            night(number),
            {"bench_tg": 100.0, "energy_per_token": 0.5},
            attempt=100 + number,
            artifact=landed.artifact,
            **conditions,
        )
    verdicts = {one.series.metric: one for one in measured(farm, TODAY).verdicts}
    assert verdicts["energy_per_token"].kind is Kind.NO_DATA
    assert verdicts["energy_per_token"].reason == "it was measured, and gave no energy_per_token"


def test_a_perplexity_that_rises_is_a_regression(farm: Path) -> None:
    watch(farm, quality=True, metrics=["ppl"])
    history(farm, metric="ppl")
    device(farm, ppl=10.6)
    told = [only(measured(farm, TODAY + number)) for number in range(3)]
    assert Kind.REGRESSION in [verdict.kind for verdict in told]
    (verdict,) = (one for one in told if one.kind is Kind.REGRESSION)
    assert (verdict.ratio or 0) > 1.03


def test_what_it_says_to_type_measures_it_again(farm: Path) -> None:
    history(farm)
    device(farm, fault="crash")
    command = only(measured(farm, TODAY)).reproduce
    device(farm)
    words = shlex.split(command)
    assert words[0] == f"QUANTFARM_HOME={farm}"
    assert words[1:3] == ["quantfarm", "sweep"]
    before = len(list(Landings(Home(farm)).all()))
    done = json.loads(quantfarm(*words[2:], "--json"))
    assert (done["ok"], done["devices"]) == (1, ["desk"])
    after = list(Landings(Home(farm)).all())
    assert len(after) == before + 1
    assert {one.cell.workload for one in after} == {after[0].cell.workload}


def test_a_watch_that_cannot_be_carried_out_is_no_data_of_its_own_and_the_others_go_on(farm: Path) -> None:
    history(farm)
    asked = json.loads((farm / "nightly.yaml").read_text())
    asked["watches"].append({**asked["watches"][0], "devices": ["desck"]})
    (farm / "nightly.yaml").write_text(json.dumps(asked))
    assert only(measured(farm, TODAY)).kind is Kind.UNCHANGED


def test_a_night_that_was_cut_off_goes_on_and_runs_nothing_again(farm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history(farm)
    device(farm, bandwidth_gib_s=0.9 * BANDWIDTH)
    for number in range(2):
        measured(farm, TODAY + number)
    with monkeypatch.context() as cut:
        cut.setattr(nights, "keep", _killed)
        with pytest.raises(KeyboardInterrupt):
            measured(farm, TODAY + 2)
    before = len(list(Landings(Home(farm)).all()))
    verdict = only(measured(farm, TODAY + 2))
    assert verdict.kind is Kind.REGRESSION
    assert len(list(Landings(Home(farm)).all())) == before, "a landed run was run again"


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_database_made_anew_has_the_same_nights(farm: Path) -> None:
    history(farm)
    measured(farm, TODAY)
    rows = "SELECT * FROM verdicts ORDER BY night, series"
    with Reader(Home(farm)) as reader:
        before = reader.query(rows), reader.query("SELECT * FROM nights ORDER BY night")
    rebuild(Home(farm))
    with Reader(Home(farm)) as reader:
        assert (reader.query(rows), reader.query("SELECT * FROM nights ORDER BY night")) == before
    assert len(before[0]) == 2
    assert verify(Home(farm)) == []
    report = nights.folder(Home(farm)) / f"{night(TODAY)}.json"
    report.chmod(0o644)
    report.write_text(report.read_text().replace('"unchanged"', '"noise"'))
    assert {one.kind for one in verify(Home(farm))} == {"night_report"}
