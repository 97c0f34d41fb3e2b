"""Runs under `quantfarm up` that die before their sweep is written down: begun again, once for each death."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import deployments, settings
from flows.up import again, runs
from flows.up.again import Again
from flows.up.api import Api, Refused
from quantfarm.nouns import Plan
from storage import sweeps
from storage.home import Home
from tests.farms import Farm, devices, farm, until

ASKED = {"model": "reference", "devices": ["phone"]}
TAGS = ["of-mine"]


@dataclass
class Desk:
    """A real server where everything is registered and nothing is served: runs die as a test says."""

    api: Api
    home: Home
    ids: dict[str, str]
    said: list[str] = field(default_factory=list[str])
    watcher: Again = field(init=False)

    def __post_init__(self) -> None:
        self.watcher = Again(self.home, self.api, self.said.append)

    def begin(self, deployment: str = "sweep", state: str = "PENDING", **parameters: Any) -> str:
        body = {"parameters": parameters, "tags": TAGS, "state": {"type": state}}
        return self.api.post(f"/deployments/{self.ids[deployment]}/create_flow_run", body)["id"]

    def dies(self, run: str) -> None:
        self.api.set_state(run, "CRASHED", "its process was killed", force=True)

    def look(self, alive: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """The runs that are then scheduled."""
        self.watcher.look(self.ids, alive)
        return self.scheduled()

    def scheduled(self) -> list[dict[str, Any]]:
        return self.api.runs(["SCHEDULED"], deployment_id={"any_": list(self.ids.values())})


@pytest.fixture
def desk(home: Path, prefect_server: str) -> Iterator[Desk]:
    settings.prepare(Home(home))
    devices(home, "phone")
    ids = {one.name: str(one.apply()) for one in deployments.deployments(Home(home))}
    made = Desk(Api(prefect_server), Home(home), ids)
    made.watcher.start(go_on=False)
    yield made
    mine = {"flow_runs": {"deployment_id": {"any_": list(made.ids.values())}}}
    there = [f"/flow_runs/{run['id']}" for run in made.api.all("/flow_runs/filter", mine)]
    for path in (*there, *(f"/deployments/{one}" for one in made.ids.values())):
        until(lambda path=path: gone(made.api, path), f"{path} is deleted")


def gone(api: Api, path: str) -> bool:
    """A busy server may answer 503 to a deletion, and have done it."""
    with contextlib.suppress(Refused):
        api.ask("DELETE", path)
    return True


def test_it_is_begun_again_as_it_was_asked_for_once_for_one_death(desk: Desk) -> None:
    run = desk.begin(**ASKED)
    desk.dies(run)
    [made] = desk.look()
    assert (made["parameters"], made["tags"]) == (ASKED, TAGS)
    assert len(desk.look()) == 1
    another = Again(desk.home, desk.api, desk.said.append)  # who knows nothing of what was done
    another.look(desk.ids, ())
    assert [one["id"] for one in desk.scheduled()] == [made["id"]]
    assert "begun again" in desk.said[0] and "time 1" in desk.said[0]
    assert desk.watcher.rows == [
        {"original": run, "deployment": "sweep", "given_up": False, "times": 1, "run": made["id"]}
    ]


def test_after_three_times_it_is_given_up_and_said(desk: Desk) -> None:
    desk.dies(desk.begin(**ASKED))
    for _ in range(again.TIMES):
        [made] = desk.look()
        desk.dies(made["id"])
    assert desk.look() == []
    assert "not tried again by itself" in desk.said[-1]
    assert [(row["times"], row["given_up"]) for row in desk.watcher.rows] == [(again.TIMES, True)]
    assert desk.look() == [] and len(desk.said) == again.TIMES + 1


def test_one_whose_sweep_was_written_down_is_left_to_who_goes_on_with_sweeps(desk: Desk) -> None:
    run = desk.begin(**ASKED)
    sweeps.record(desk.home, "20261120-000000-1-aaaa", "reference", ASKED, Plan(cells=(), skips=()), run)
    desk.dies(run)
    desk.dies(desk.begin(resume="20261120-000000-1-aaaa"))
    assert desk.look() == []
    assert desk.said == []


def test_one_that_a_person_cancelled_stays_so(desk: Desk) -> None:
    run = desk.begin(state="RUNNING", **ASKED)
    desk.api.set_state(run, "CANCELLING", "by a person", force=True)
    desk.dies(run)
    desk.api.set_state(desk.begin(**ASKED), "CANCELLED", "by a person", force=True)
    assert desk.look() == []


def test_one_that_is_called_dead_and_lives_is_waited_for(desk: Desk) -> None:
    run = desk.begin(state="RUNNING", **ASKED)
    desk.dies(run)
    assert desk.look(alive=(run,)) == []
    assert len(desk.look()) == 1


def test_a_night_that_died_before_it_had_its_date_is_begun_again_and_another_is_not(desk: Desk) -> None:
    desk.dies(desk.begin("nightly", state="RUNNING", night="2026-11-20"))  # it is gone on with as a night
    assert desk.look() == []
    desk.dies(desk.begin("nightly"))
    assert [one["deployment_id"] for one in desk.look()] == [desk.ids["nightly"]]


def test_one_that_can_no_longer_be_asked_for_is_given_up_and_keeps_no_other_from_its_turn(desk: Desk) -> None:
    for _ in range(2):
        desk.dies(desk.begin(**ASKED))
    (desk.home.root / "device_profiles" / "phone.yaml").unlink()
    [sweep] = [one for one in deployments.deployments(desk.home) if one.name == "sweep"]
    sweep.apply()
    assert desk.look() == []
    assert len(desk.said) == 2 and all("'phone' is not one of" in one for one in desk.said)


def test_what_is_no_sweep_is_told_and_left_to_a_person(desk: Desk) -> None:
    for name in ("report", "rebuild-database", "check-devices", "register-device"):
        desk.dies(desk.begin(name, **({"name": "x", "url": "local"} if name == "register-device" else {})))
    assert desk.look() == []
    assert len(desk.said) == 4
    assert all("start it again where it is still wanted" in one for one in desk.said)


def test_what_was_there_before_is_begun_again_only_where_a_person_goes_on(desk: Desk) -> None:
    desk.dies(desk.begin(**ASKED))
    cut_off = desk.begin(state="RUNNING", **ASKED)
    wished = Again(desk.home, desk.api, desk.said.append)
    wished.start(go_on=True)
    desk.watcher = Again(desk.home, desk.api, desk.said.append)
    desk.watcher.start(go_on=False)
    desk.dies(cut_off)  # it is noticed that its process is gone
    assert desk.look() == []
    assert "since the last `quantfarm up`" in desk.said[-1]
    wished.look(desk.ids, ())
    assert len(desk.scheduled()) == 1


def process_of(up: Farm, run: str, seen: set[int]) -> psutil.Process:
    """The run's process as soon as it is there."""
    token = up.state["token"]

    def look() -> psutil.Process | None:
        found = runs.processes(token).get(run)
        return found if found and found.pid not in seen else None

    return until(look, f"the process of {run}")


@pytest.mark.timeout(900)
def test_a_sweep_whose_process_is_killed_as_soon_as_it_is_there_is_measured_all_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    devices(home, "phone", sleep_s=0.0)
    with farm(home, "--no-nightly") as up:
        up.await_up()
        run = up.begin("phone")
        up.api.ask("PATCH", f"/flow_runs/{run}", {"tags": TAGS})
        with contextlib.suppress(psutil.NoSuchProcess):
            process_of(up, run, set()).send_signal(signal.SIGKILL)  # it is still importing what it needs
        assert not list((home / "sweeps").glob("*.json"))
        up.await_said("begun again as")
        [row] = until(lambda: up.state["begun_again"], "the state tells")
        assert row["original"] == run
        until(lambda: up.run(row["run"])["state_type"] == "COMPLETED", "the sweep's end")
        done, first = up.run(row["run"]), up.run(run)
        assert first["state_type"] == "CRASHED"
        assert done["parameters"] == first["parameters"]
        assert set(TAGS) <= set(done["tags"])
        assert len(up.landed()) == 16
        assert all(name.split(".")[1] == "1" for name in up.landed()), "a cell was measured twice"
        assert any("begun again" in note for note in up.status()["notes"])
        assert "begun again" in (home / "up" / "up.log").read_text()
        ours = {"deployment_id": {"any_": [up.deployment("sweep")]}}
        assert len(up.api.all("/flow_runs/filter", {"flow_runs": ours})) == 2
