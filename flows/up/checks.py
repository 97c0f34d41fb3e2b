"""What `quantfarm up` looks at by itself: each a line of `--status`, and a warning where it is wrong.

Each is a trap that was fallen into: schedules that are silently never made, slots that nobody gives back, runs shown
as running for ever.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from flows import automations, deployments, settings
from flows.up.api import Api, NoAnswer, Refused
from storage.home import Home

#: A run is made some time before it is due, and starts some seconds late.
SLACK = timedelta(seconds=120)
#: The server makes no runs further ahead than 100 days.
HORIZON = timedelta(days=99)
#: Bytes of disk below which the farm will soon stop.
ROOM = 512 * 2**20
#: What decides whether the server works at all.
PINNED = ("prefect", "fastapi", "sqlalchemy")


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look needs. `beat`: what the serving process told of itself."""

    home: Home
    api: Api
    beat: Mapping[str, Any]
    nightly: bool
    own_server: bool = True


def look(at: Looked) -> list[Check]:
    """Every check once; one that cannot be made is wrong, with the reason."""
    return [_one(name, check, at) for name, check in CHECKS.items()]


def _one(name: str, check: Callable[[Looked], tuple[bool, str]], at: Looked) -> Check:
    try:
        ok, text = check(at)
    except (NoAnswer, OSError, ValueError, KeyError, TypeError) as error:
        ok, text = False, f"could not be looked at: {error}"
    return Check(name, ok, text)


def _schedules(at: Looked) -> tuple[bool, str]:
    """For each schedule there is a flow run in time: a server whose scheduler died makes none, and says nothing."""
    due_by: Mapping[str, str] = at.beat.get("due_by") or {}
    wrong = [f"no run of {name} is scheduled until {by}" for name, by in missing_runs(at.api, due_by).items()]
    if at.nightly and "nightly" not in due_by:
        wrong.append("there is no nightly schedule: the serving process could not read the watch list (see its log)")
    return not wrong, "; ".join(wrong) or ", ".join(f"{name} by {by}" for name, by in due_by.items()) or "none"


def missing_runs(api: Api, due_by: Mapping[str, str]) -> dict[str, str]:
    """Of the deployments with a schedule, those without a run by the time that one is due. Raises NoAnswer."""
    ids = {one["id"]: name for name, one in api.deployments().items()}
    found: set[str] = set()
    begin = datetime.now(UTC) - SLACK
    for run in api.runs(["SCHEDULED"], expected_start_time={"after_": begin.isoformat()}):
        name = ids.get(run.get("deployment_id") or "", "")
        if not run.get("auto_scheduled") or name not in due_by:
            continue
        if _time(run["expected_start_time"]) <= _time(due_by[name]) + SLACK:
            found.add(name)
    ahead = datetime.now(UTC) + HORIZON
    return {name: by for name, by in due_by.items() if name not in found and _time(by) < ahead}


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def remake(api: Api, names: Mapping[str, str]) -> None:
    """Switches the schedules of these deployments off and on: their runs are made anew from now on. Raises NoAnswer."""
    for name, one in api.deployments().items():
        for schedule in one.get("schedules") or () if name in names else ():
            for active in (False, True):
                api.ask("PATCH", f"/deployments/{one['id']}/schedules/{schedule['id']}", {"active": active})


def _zombies(at: Looked) -> tuple[bool, str]:
    wrong = automations.missing(at.api)
    return not wrong, wrong or "runs whose process is gone are found"


def _slots(at: Looked) -> tuple[bool, str]:
    """Slots taken are slots somebody holds a lease on."""
    held = _leases(at.home) if at.own_server else None
    taken = [one for one in at.api.all("/v2/concurrency_limits/filter", {}) if one.get("active_slots")]
    if held is None:
        return True, f"{len(taken)} limits in use"
    wrong = [
        f"{one['active_slots']} slots of '{one['name']}' are taken and nobody holds them: "
        f"prefect global-concurrency-limit update {one['name']} --active-slots 0"
        for one in taken
        if one["id"] not in held
    ]
    return not wrong, "; ".join(wrong) or ("none is taken" if not taken else f"{len(taken)} limits in use, all held")


def _leases(home: Home) -> set[str]:
    """Ids of the limits that somebody holds a lease on; as the server's filesystem storage keeps them."""
    found: set[str] = set()
    for path in (home.prefect / "concurrency_leases").glob("*.json"):
        try:
            body = json.loads(path.read_bytes())
            found |= {str(one) for one in body.get("resource_ids") or ()}
        except (OSError, ValueError, AttributeError):
            continue  # being written, or the index of expirations
    return found


def _deployments(at: Looked) -> tuple[bool, str]:
    there = at.api.deployments()
    wanted = [name for name, (module, _) in deployments.FLOWS.items() if importlib.util.find_spec(module)]
    wrong = [f"{name} is missing" for name in wanted if name not in there]
    wrong += [f"{name} is paused" for name in wanted if name in there and there[name].get("paused")]
    return not wrong, "; ".join(wrong) or ", ".join(wanted)


def _versions(at: Looked) -> tuple[bool, str]:
    """The server is of the version installed here, and that one of the pinned ones."""
    server, here = str(at.api.get("/admin/version")), metadata.version("prefect")
    wrong = [] if server == here else [f"the server is Prefect {server}, this is {here}"]
    for one in metadata.requires("quantfarm") or ():
        try:
            need = Requirement(one)
        except InvalidRequirement:
            continue
        if need.name.lower() in PINNED and not need.specifier.contains(have := metadata.version(need.name)):
            wrong.append(f"{need.name} {have} is not {need.specifier}: the server may silently make no scheduled runs")
    return not wrong, "; ".join(wrong) or f"Prefect {server}"


def _settings(at: Looked) -> tuple[bool, str]:
    """The server talks to nobody, and keeps its leases where a restart does not lose them."""
    told = at.api.get("/admin/settings")["server"]
    storage = settings.SERVER["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"]
    wrong = ["it sends analytics"] if told["analytics_enabled"] else []
    wrong += ["its UI V2 is served, which calls out"] if "v2" in _uis(at.api) else []
    if told["concurrency"]["lease_storage"] != storage:
        wrong.append(f"leases are kept in {told['concurrency']['lease_storage']}, which a restart loses")
    return not wrong, "; ".join(wrong) or "offline, no analytics, leases on disk"


def _uis(api: Api) -> list[str]:
    """The UIs that a browser can come to: what the server mounts, whatever its settings say."""
    try:
        return list(replace(api, url=api.url.removesuffix("/api")).get("/ui-settings")["available_uis"])
    except Refused:  # a server of the API alone
        return []


def _room(at: Looked) -> tuple[bool, str]:
    free = shutil.disk_usage(_there(at.home.root)).free
    return free > ROOM, f"{free / 2**30:.1f} GiB free for {at.home.root}"


def _there(path: Path) -> Path:
    return path if path.exists() else _there(path.parent)


CHECKS: dict[str, Callable[[Looked], tuple[bool, str]]] = {
    "deployments": _deployments,
    "schedules": _schedules,
    "zombies": _zombies,
    "slots": _slots,
    "versions": _versions,
    "settings": _settings,
    "room": _room,
}
