"""What the farm serves in Prefect's UI, and forms that follow the farm.

Prefect is imported when it is needed: its settings are made before.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flows import forms
from quantfarm.errors import FarmError
from storage.home import Home

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

log = logging.getLogger("quantfarm.flows")

#: Deployment -> module and flow. Named by module: run from a path, a flow is another one than its helpers import.
FLOWS = {
    "sweep": ("flows.sweep", "sweep"),
    "register-device": ("flows.deployed", "register_device"),
    "check-devices": ("flows.deployed", "check_devices"),
    "nightly": ("flows.nightly", "nightly"),
    "report": ("flows.deployed", "report"),
    "rebuild-database": ("flows.deployed", "rebuild_database"),
}
#: How often the form is compared with the farm; a look is a `stat` of each device's files.
FOLLOW_S = 2.0
ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)


class Cron(NamedTuple):
    """`cron` as in crontab(5), in the time zone (`Europe/Berlin`)."""

    cron: str
    timezone: str


def deployments(home: Home, check_every_s: float | None = None, nightly: Cron | None = None) -> list[RunnerDeployment]:
    """Everything that is served. Checks and nights run by themselves only where their schedule is given."""
    from prefect.schedules import Cron as Schedule  # noqa: PLC0415 - after Prefect's settings
    from prefect.schedules import Interval  # noqa: PLC0415
    from prefect.types.entrypoint import EntrypointType  # noqa: PLC0415

    when: dict[str, dict[str, Any]] = {}
    if check_every_s:
        # Counted from a fixed moment: from the start of each serving process, an hour would begin anew every time.
        when["check-devices"] = {"schedule": Interval(timedelta(seconds=check_every_s), anchor_date=ANCHOR)}
    if nightly:
        when["nightly"] = {"schedule": Schedule(nightly.cron, timezone=nightly.timezone)}
    made = [
        getattr(importlib.import_module(module), flow).to_deployment(
            name, entrypoint_type=EntrypointType.MODULE_PATH, **when.get(name, {})
        )
        for name, (module, flow) in FLOWS.items()
        if importlib.util.find_spec(module)
    ]
    for one in _sweeps(made):
        try:
            _put_form(home, one)
        except FarmError as error:  # a profile that cannot be read: the flow's own parameters, with no choices
            log.warning("the form of sweeps lists nothing to choose from: %s", error)
    for one in made:
        if one.name == "register-device":
            _put_titles(one)
    return made


def _sweeps(made: Iterable[RunnerDeployment]) -> list[RunnerDeployment]:
    return [one for one in made if one.name == "sweep"]


def _put_form(home: Home, deployment: RunnerDeployment) -> bool:
    """Puts the farm's choices on the deployment of sweeps; whether anything changed."""
    from prefect.utilities.callables import ParameterSchema  # noqa: PLC0415

    form = ParameterSchema(**forms.sweep_form(home, _own_schema(deployment)))
    changed = form != deployment._parameter_openapi_schema
    deployment._parameter_openapi_schema = form
    return changed


def _put_titles(deployment: RunnerDeployment) -> None:
    from prefect.utilities.callables import ParameterSchema  # noqa: PLC0415

    form = forms.titled(_own_schema(deployment), forms.REGISTER_DEVICE)
    deployment._parameter_openapi_schema = ParameterSchema(**form)


def _own_schema(deployment: RunnerDeployment) -> dict[str, Any]:
    """Of the flow's parameters, as Prefect makes it."""
    from prefect.utilities.callables import parameter_schema  # noqa: PLC0415

    module, flow = FLOWS[deployment.name]
    return parameter_schema(getattr(importlib.import_module(module), flow).fn).model_dump()


def follow(home: Home, made: Iterable[RunnerDeployment], stop: Callable[[float], bool]) -> None:
    """Keeps the sweep's form on the server as the farm is: devices registered, retired, quarantined.

    Returns once `stop` (asked to wait so many seconds, as threading.Event.wait does) says so. What goes wrong is
    logged and tried again.
    """
    sweeps = _sweeps(made)
    seen: frozenset[tuple[str, int, int]] = frozenset({("nothing looked at yet", 0, 0)})
    behind = False  # the server has an older form than the deployment
    while not stop(FOLLOW_S):
        now = _looks(home)
        try:
            if now != seen:
                seen = now
                behind |= any([_put_form(home, one) for one in sweeps])  # noqa: C419 - each of them
            if behind:
                _apply(sweeps)
                behind = False
        except FarmError as error:  # a profile that cannot be read: the old form stands until it can
            log.warning("the form of sweeps stays as it is: %s", error)
        except Exception as error:
            log.warning("the form of sweeps is not on the server yet: %s", error)


def _apply(sweeps: Iterable[RunnerDeployment]) -> None:
    """Only the form is sent: runs that are scheduled, and what somebody set in the UI, stay as they are."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.client.schemas.actions import DeploymentUpdate  # noqa: PLC0415

    with get_client(sync_client=True) as client:
        for one in sweeps:
            there = client.read_deployment_by_name(one.full_name)
            form: Any = one._parameter_openapi_schema.model_dump()
            client.update_deployment(there.id, DeploymentUpdate(parameter_openapi_schema=form))


def _looks(home: Home) -> frozenset[tuple[str, int, int]]:
    """What changes when a device is registered, edited, changes its state or is retired."""
    paths: list[Path] = [*(home.root / "device_profiles").glob("*.yaml")]
    paths += (home.root / "devices").glob("*/transitions.jsonl")
    found: set[tuple[str, int, int]] = set()
    for path in paths:
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        found.add((str(path), stat.st_mtime_ns, stat.st_size))
    return frozenset(found)
