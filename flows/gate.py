"""The start gate: a device begins a measurement as cool as it is at rest (METHOD §4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flows.station import Station
from quantfarm.nouns import Workload


def wait(station: Station, workload: Workload, stopped: Callable[[], bool]) -> dict[str, Any]:
    del station, workload, stopped
    return {}
