"""The watch list: what is measured every night, and when. A YAML file; sweeps/nightly.yaml is the one that comes
with the farm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from quantfarm import profiles, sweeps
from quantfarm.errors import UsageError, unknown
from quantfarm.sweeps import Sweep

#: Of the keys of a sweep, those that a watch sets itself.
NOT_IN_A_WATCH = ("night", "priority", "fresh")
#: Nightly runs let people's sweeps measure first.
PRIORITY = -5


class Schedule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: str = Field("0 2 * * *", description="when, as cron says it")
    timezone: str = Field("UTC", description="of the cron times: an IANA name, e.g. Europe/Berlin")

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"'{name}' is no time zone: give an IANA name such as Europe/Berlin") from error
        return name


class WatchList(BaseModel):
    """`watches` are sweeps: devices × variants × workloads. `metrics`: those that are judged; empty: all main ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schedule: Schedule = Schedule()  # pyright: ignore[reportCallIssue]
    watches: tuple[Sweep, ...] = Field(min_length=1)
    metrics: tuple[str, ...] = Field((), description="metrics to judge; empty: the main ones of each workload")
    window: int = Field(30, ge=10, le=365, description="nights looked at together")
    magnitude: float = Field(0.03, gt=0, lt=1, description="smallest relative change that is a candidate")
    alert: float = Field(0.02, ge=0, lt=1, description="smallest confirmed change that is told")
    pairs: int = Field(10, ge=6, le=100, description="interleaved pairs, or launches, of a confirming rerun")


def read(path: Path) -> WatchList:
    """Raises UsageError for a file that cannot be read or is no watch list: what, where, what is known."""
    content = profiles.read_yaml(path)
    for key in content:
        if key not in WatchList.model_fields:
            raise unknown("key", key, WatchList.model_fields, str(path))
    given = content.get("watches")
    if not isinstance(given, list) or not given:
        raise UsageError(
            f"{path}: `watches` is a list of sweeps, each with devices and quants; see sweeps/nightly.yaml"
        )
    watches = [_watch(one, path, f"{path}, watch {number}") for number, one in enumerate(given, 1)]  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    try:
        return WatchList.model_validate({**content, "watches": watches})
    except ValidationError as error:
        raise UsageError(f"{path}: {profiles.describe(error)}") from error


def _watch(given: Any, path: Path, where: str) -> Sweep:
    if not isinstance(given, Mapping):
        raise UsageError(f"{where}: a watch is a sweep, with keys such as model, quants, devices, suite")
    asked: dict[str, Any] = {str(key): value for key, value in given.items()}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    for key in NOT_IN_A_WATCH:
        if key in asked:
            raise UsageError(f"{where}: `{key}` is set by the nightly run itself; leave it out")
    return sweeps.request({**sweeps.beside(asked, path.parent), "priority": PRIORITY}, where)
