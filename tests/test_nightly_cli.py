"""quantfarm nightly run, status, history: as a person types them, in processes of their own."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.up.api import Api
from quantfarm.nightly.series import key_of
from quantfarm.nightly.verdicts import Kind, NightReport, Verdict
from storage import nights
from storage.home import Home
from storage.ingest import ingest
from tests.nights import cell, night, put, series
from tests.sweeping import landings, quantfarm, start
from tests.test_nightly_flow import device, watch

LAUNCHES = 8


@pytest.fixture
def farm(home: Path, prefect_server: str) -> Path:
    device(home)
    watch(home)
    return home


def run(*arguments: str, code: int = 0) -> dict[str, Any]:
    return json.loads(quantfarm("nightly", "run", *arguments, "--json", code=code))


def test_a_night_by_hand_and_what_it_prints(farm: Path) -> None:
    report = run("--night", night(0))
    assert (report["night"], report["measured_already"], report["counts"]["ok"]) == (night(0), False, 1)
    assert [one["kind"] for one in report["verdicts"]] == ["young"]
    again = quantfarm("nightly", "run", "--night", night(0))
    assert f"{night(0)} was measured already" in again
    assert f"{night(0)}: 1 too young to say" in again

    device(farm, fault="crash")
    told = quantfarm("nightly", "run", "--night", night(1), code=1)
    assert "no data: desk: token generation (bench_tg) of reference F16" in told
    assert "[simulated, not measured]" in told
    assert "GGML_ASSERT failed" in told

    status = json.loads(quantfarm("nightly", "status", "--json"))
    assert (status["last_night"], list(status["silent"]), status["open"]) == (night(1), ["desk"], [])
    assert "no data from desk" in quantfarm("nightly", "status")


def test_a_night_that_was_killed_goes_on_and_runs_nothing_twice(farm: Path) -> None:
    device(farm, sleep_s=0.5)
    asked = json.loads((farm / "nightly.yaml").read_text())
    asked["watches"][0]["launches"] = LAUNCHES
    (farm / "nightly.yaml").write_text(json.dumps(asked))
    with start("nightly", "run", "--night", night(0), "--json") as process:
        try:
            end = time.monotonic() + 200
            while len(landings(farm).keys()) < 3:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    before = landings(farm).keys()
    assert 3 <= len(before) < LAUNCHES
    assert nights.reports(Home(farm)) == []
    report = run("--night", night(0))
    assert report["counts"]["known"] >= 3
    landed = Counter(one.cell.id for one in landings(farm).all())
    assert len(landed) == LAUNCHES
    assert set(landed.values()) == {1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("watches:\n  - {model: ref", "is not valid YAML"),
        ("", "should hold 'key: value' lines"),
        ("schedule: {cron: '0 2 * * *'}", "`watches` is a list of sweeps"),
        ("watches: [{devices: [desk], quant: [F16]}]", "unknown key 'quant'"),
        ("watches: [{devices: [dask], quants: [F16]}]", "unknown device 'dask'"),
        ("watches: [{devices: [desk], quants: [F17]}]", "unknown quant 'F17'"),
        ("watches: [{devices: [desk]}]\nmetrics: [bench_tgg]", "unknown metric 'bench_tgg'"),
        ("watches: [{devices: [desk]}]\nschedule: {timezone: Mars/Base}", "is no time zone"),
        ("watches: [{devices: [desk], night: '2026-11-01'}]", "`night` is set by the nightly run itself"),
        ("watches: [{devices: [desk]}]\nalert: 2", "alert: Input should be less than 1"),
    ],
)
def test_a_watch_list_that_is_wrong_is_said_before_anything_runs(home: Path, text: str, message: str) -> None:
    device(home)
    file = home / "mine.yaml"
    file.write_text(text)
    said = quantfarm("nightly", "run", "--watch-list", str(file), code=2)
    assert message in " ".join(said.split())
    assert not (home / "cells").exists()


def test_a_date_that_is_none_is_said(home: Path) -> None:
    device(home)
    watch(home)
    assert "'2026-02-30' is no night" in quantfarm("nightly", "run", "--night", "2026-02-30", code=2)


@pytest.fixture
def told(home: Path) -> Verdict:
    """Thirty nights, a gap, a step and its verdict, as files."""
    values = [100 + 0.3 * (at % 4) for at in range(24)] + [90 + 0.3 * (at % 4) for at in range(6)]
    series(home, [None if at == 10 else value for at, value in enumerate(values)])
    put(home, cell(launch=1), night(10), {"ttft": 0.5}, attempt=200)
    ingest(Home(home))
    listed = json.loads(quantfarm("nightly", "history", "--json"))
    assert [one["nights"] for one in listed] == [29, 1]

    key = key_of(cell(), "bench_tg")
    assert listed[0]["id"] == key.id
    verdict = Verdict(
        series=key,
        kind=Kind.REGRESSION,
        reason="it is worse",
        night=night(26),
        first_bad=night(24),
        last_good=night(23),
        ratio=0.9,
        simulated=True,
    )
    report = NightReport(
        night=night(26),
        began_at="2026-11-27T02:00:00+00:00",
        finished_at="2026-11-27T03:00:00+00:00",
        verdicts=(verdict,),
    )
    nights.keep(Home(home), report)
    return verdict


def test_the_history_of_a_series(home: Path, told: Verdict) -> None:
    name = told.series.id
    history = json.loads(quantfarm("nightly", "history", name, "--json"))
    assert history["gaps"] == [night(10)]
    rows = {row["night"]: row for row in history["nights"]}
    assert len(rows) == 30
    assert rows[night(10)]["value"] is None
    assert [one for one, row in rows.items() if row["change"]] == [night(24)]
    assert rows[night(24)]["change"] == "down"
    assert rows[night(24)]["relative_size"] == pytest.approx(-0.1, abs=0.01)
    assert [one for one, row in rows.items() if row["verdict"] == "regression"] == [night(26)]

    by_csv = list(csv.DictReader(io.StringIO(quantfarm("nightly", "history", name, "--csv"))))
    assert [row["night"] for row in by_csv] == list(rows)
    assert by_csv[10]["value"] == ""

    plot = home / "plot.svg"
    printed = quantfarm("nightly", "history", "desk bench_tg", "--plot", str(plot))
    assert "▲" in printed
    assert "simulated, not measured" in printed
    assert "<svg" in plot.read_text()

    assert told.series.id in quantfarm("nightly", "history")
    assert "2 series match 'desk'" in quantfarm("nightly", "history", "desk", code=2)
    assert "unknown series" in quantfarm("nightly", "history", "ffffffff", code=2)
    assert "a plot is an .svg file" in quantfarm("nightly", "history", name, "--plot", "x.png", code=2)

    status = json.loads(quantfarm("nightly", "status", "--json"))
    assert [one["series"] for one in status["open"]] == [name]
    assert status["next"] is None or isinstance(status["next"], str)


def test_status_says_when_the_next_night_is_due(farm: Path) -> None:
    api = Api(os.environ["PREFECT_API_URL"])
    made = api.post("/deployments/", {"name": "nightly", "flow_id": api.post("/flows/", {"name": "nightly"})["id"]})
    due = (datetime.now(UTC) + timedelta(hours=3)).isoformat(timespec="seconds")
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}
    try:
        assert json.loads(quantfarm("nightly", "status", "--json"))["next"] is None
        api.post(f"/deployments/{made['id']}/create_flow_run", {"state": state})
        said = json.loads(quantfarm("nightly", "status", "--json"))["next"]
        assert datetime.fromisoformat(said) == datetime.fromisoformat(due)
    finally:
        api.ask("DELETE", f"/deployments/{made['id']}")


def test_without_a_night_there_is_no_history(home: Path) -> None:
    home.mkdir()
    assert "no night was measured yet" in quantfarm("nightly", "history", code=2)
    assert "no night was measured yet" in quantfarm("nightly", "status")
