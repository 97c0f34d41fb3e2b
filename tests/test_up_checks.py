"""What `quantfarm up` sees by itself: each of these was a trap that somebody fell into."""

from __future__ import annotations

import contextlib
import importlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows import automations, deployments, settings
from flows.up import checks, late
from flows.up.api import Api, NoAnswer
from flows.up.clock import Clock
from storage.home import Home
from tests.farms import until


@pytest.fixture
def api(home: Path, prefect_server: str) -> Api:
    """A real server; what tests leave there is their own."""
    settings.prepare(Home(home))
    return Api(prefect_server)


@pytest.fixture
def served(home: Path, api: Api) -> Iterator[dict[str, Any]]:
    """Everything registered, as the serving process does; what its beat tells."""
    night = datetime.now(UTC) + timedelta(hours=12)
    cron = deployments.Cron(f"{night.minute} {night.hour} * * *", "UTC")
    ids = {one.name: str(one.apply()) for one in deployments.deployments(Home(home), 3600.0, cron)}
    soon = {"check-devices": datetime.now(UTC) + timedelta(hours=1), "nightly": night}
    yield {"deployments": ids, "due_by": {name: at.isoformat() for name, at in soon.items()}}
    for one in ids.values():
        with contextlib.suppress(NoAnswer):  # a test took it away
            api.ask("DELETE", f"/deployments/{one}")


def found(home: Path, api: Api, served: dict[str, Any], name: str) -> checks.Check:
    at = checks.Looked(home=Home(home), api=api, beat=served, nightly=True)
    return next(one for one in checks.look(at) if one.name == name)


def scheduled(api: Api, served: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return api.runs(["SCHEDULED"], deployment_id={"any_": [served["deployments"][name]]})


def test_nightly_runs_that_are_really_scheduled_are_good(home: Path, api: Api, served: dict[str, Any]) -> None:
    until(lambda: found(home, api, served, "schedules").ok, "runs are made")
    assert "nightly by" in found(home, api, served, "schedules").text


def test_a_schedule_that_makes_no_runs_is_seen_and_made_anew(home: Path, api: Api, served: dict[str, Any]) -> None:
    until(lambda: len(scheduled(api, served, "nightly")) >= 3, "runs are made")
    for run in scheduled(api, served, "nightly")[:2]:  # as after a clock that was days ahead
        api.ask("DELETE", f"/flow_runs/{run['id']}")
    wrong = found(home, api, served, "schedules")
    assert not wrong.ok
    assert "no run of nightly is scheduled until" in wrong.text
    checks.remake(api, {"nightly": ""})
    until(lambda: found(home, api, served, "schedules").ok, "runs are made anew")


def test_a_night_list_that_is_not_served_is_wrong(home: Path, api: Api, served: dict[str, Any]) -> None:
    without = {**served, "due_by": {"check-devices": served["due_by"]["check-devices"]}}
    assert "no nightly schedule" in found(home, api, without, "schedules").text


def test_a_deployment_that_was_deleted_or_paused_is_missed(home: Path, api: Api, served: dict[str, Any]) -> None:
    assert found(home, api, served, "deployments").ok
    api.ask("PATCH", f"/deployments/{served['deployments']['report']}", {"paused": True})
    assert found(home, api, served, "deployments").text == "report is paused"
    api.ask("DELETE", f"/deployments/{served['deployments']['report']}")
    assert found(home, api, served, "deployments").text == "report is missing"
    importlib.import_module("flows.deployed").report.to_deployment("report").apply()


def test_the_automation_is_made_mended_and_not_doubled(home: Path, api: Api, served: dict[str, Any]) -> None:
    assert "is missing" in found(home, api, served, "zombies").text
    assert automations.ensure(api) == "made"
    assert found(home, api, served, "zombies").ok
    [one] = [one for one in api.all("/automations/filter", {}) if one["name"] == automations.ZOMBIES]
    api.ask("PATCH", f"/automations/{one['id']}", {"enabled": False})
    assert not found(home, api, served, "zombies").ok
    assert automations.ensure(api) == "mended"
    api.post("/automations/", automations.zombies())
    assert automations.ensure(api) == "its doubles were taken away"
    assert automations.ensure(api) == ""
    for one in api.all("/automations/filter", {}):
        api.ask("DELETE", f"/automations/{one['id']}")


def test_a_slot_that_is_taken_and_nobody_holds_is_seen(home: Path, api: Api, served: dict[str, Any]) -> None:
    name = f"phone-{uuid.uuid4().hex[:6]}"
    made = api.post("/v2/concurrency_limits/", {"name": name, "limit": 1, "active": True})
    assert found(home, api, served, "slots").ok
    api.post("/v2/concurrency_limits/increment", {"names": [name], "slots": 1, "mode": "concurrency"})
    wrong = found(home, api, served, "slots")
    assert not wrong.ok
    assert f"prefect global-concurrency-limit update {name} --active-slots 0" in wrong.text
    leases = Home(home).prefect / "concurrency_leases"
    leases.mkdir()
    (leases / "a.json").write_text(f'{{"resource_ids": ["{made["id"]}"]}}')
    assert found(home, api, served, "slots").ok
    api.ask("DELETE", f"/v2/concurrency_limits/{made['id']}")


def test_a_server_with_other_settings_is_seen(home: Path, api: Api, served: dict[str, Any]) -> None:
    """The tests' own server keeps its leases in memory, as Prefect does by default."""
    assert found(home, api, served, "settings").text.startswith("leases are kept in prefect.server.concurrency")
    assert found(home, api, served, "versions").ok


@dataclass(frozen=True, slots=True)
class Serving(Api):
    """A server that mounts these UIs, and otherwise says what the real one does."""

    uis: tuple[str, ...] = ()

    def ask(self, method: str, path: str, body: object = None, timeout_s: float = 10.0) -> Any:
        if path == "/ui-settings":
            return {"available_uis": list(self.uis)}
        return Api(self.url).ask(method, path, body, timeout_s)


def test_a_ui_that_calls_out_is_seen_by_what_is_served(home: Path, api: Api, served: dict[str, Any]) -> None:
    """Not by the setting `v2_enabled`: it only chooses which of those mounted comes first."""
    text = {
        uis: found(home, Serving(api.url, uis), served, "settings").text for uis in ((), ("v1",), ("v1", "v2"), ("v2",))
    }
    assert [uis for uis, said in text.items() if "UI V2" in said] == [("v1", "v2"), ("v2",)]


def test_a_server_that_does_not_answer_makes_every_question_wrong_and_raises_nothing(home: Path) -> None:
    nowhere = Api("http://127.0.0.1:9/api")
    at = checks.Looked(home=Home(home), api=nowhere, beat={}, nightly=False)
    rows = {one.name: one for one in checks.look(at)}
    assert "does not answer" in rows["deployments"].text
    assert [name for name, one in rows.items() if one.ok] == ["room"]
    with pytest.raises(NoAnswer):
        nowhere.get("/health")


def test_of_the_missed_runs_of_a_schedule_the_newest_is_kept(api: Api, served: dict[str, Any]) -> None:
    until(lambda: len(scheduled(api, served, "check-devices")) >= 3, "runs are made")
    runs = scheduled(api, served, "check-devices")[:3]
    hours = [datetime.now(UTC) - timedelta(hours=one) for one in (3, 2, 1)]
    for run, at in zip(runs, hours, strict=True):  # as if the machine had slept meanwhile
        state = {"type": "SCHEDULED", "name": "Late", "state_details": {"scheduled_time": at.isoformat()}}
        api.post(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
    until(lambda: sum(_due(run) for run in scheduled(api, served, "check-devices")) == 3, "three are due")
    assert late.tidy(api) == {"check-devices": 2}
    assert sum(_due(run) for run in scheduled(api, served, "check-devices")) == 1
    assert late.tidy(api) == {}


def _due(run: dict[str, Any]) -> bool:
    return datetime.fromisoformat(run["next_scheduled_start_time"]) < datetime.now(UTC)


def test_a_clock_that_is_set_back_is_told_from_one_that_is_mended() -> None:
    wall, steady = [1000.0], [50.0]
    clock = Clock(lambda: wall[0], lambda: steady[0])
    for seconds, more in ((10, 10.01), (10, 10.0)):
        steady[0] += seconds
        wall[0] += more
        assert clock.jumped() == 0
    wall[0] -= 3600
    assert clock.jumped() == pytest.approx(-3600)
    assert clock.jumped() == 0
    wall[0] += 8 * 3600  # it slept: the steady clock stood still
    assert clock.jumped() == pytest.approx(8 * 3600)
