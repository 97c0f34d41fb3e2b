"""How the farm stands, device by device: what was measured last, whether it is well, what last night said of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from quantfarm.health import Transition
from storage.devices import Registry
from storage.home import Home
from storage.journal import Damaged
from storage.reading import Reader
from storage.sweeps import Unfinished, unfinished

CELLS = """
SELECT device, any_value(chip) AS chip, bool_or(simulated) AS simulated, arg_max(model, started_at) AS model,
       count(*) FILTER (state = 'ok') AS ok, count(*) FILTER (state <> 'ok') AS failed, max(started_at) AS measured_at
FROM cells WHERE current GROUP BY device
"""
STATES = """
SELECT device, arg_max(state, number) AS state, arg_max(reason, number) AS state_reason,
       arg_max(happened_at, number) AS state_at
FROM device_transitions GROUP BY device
"""
CANARIES = """
SELECT device, arg_max(happened_at, number) AS canary_at, arg_max(clean, number) AS canary_clean,
       arg_max(why, number) AS canary_why
FROM canaries GROUP BY device
"""
NIGHT = "SELECT night, finished_at, counts FROM nights ORDER BY night DESC LIMIT 1"
VERDICTS = "SELECT device, kind, count(*) FROM verdicts WHERE night = ? GROUP BY device, kind ORDER BY ALL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """As the published results have it; times are UTC. `ok`, `failed`: cells. None: never measured, no canary, …

    `state` is empty of a device that was never registered. `verdicts`: of the last night by kind, empty where that
    night did not watch it.
    """

    device: str
    chip: str = ""
    simulated: bool = False
    model: str = ""  # the one measured last
    ok: int = 0
    failed: int = 0
    measured_at: datetime | None = None
    state: str = ""
    state_reason: str = ""
    state_at: datetime | None = None
    canary_at: datetime | None = None
    canary_clean: bool | None = None
    canary_why: str = ""
    verdicts: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """The last one that has its report. `counts`: its cells by how they ended; `verdicts`: by kind, of all devices."""

    night: str
    finished_at: datetime | None
    counts: Mapping[str, int]
    verdicts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    devices: tuple[Device, ...]
    night: Night | None


def overview(reader: Reader) -> Overview:
    """Every device that was measured or registered, by name, and the last night."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for sql in (CELLS, STATES, CANARIES):
        for row in reader.query(sql):
            found[row["device"]] |= {name: value for name, value in row.items() if value is not None}
    nights = reader.rows(NIGHT)
    verdicts = reader.rows(VERDICTS, [nights[0][0]]) if nights else []
    for device, kind, count in verdicts:
        found[device] |= {"device": device, "verdicts": {**found[device].get("verdicts", {}), kind: count}}
    devices = tuple(Device(**found[name]) for name in sorted(found))
    return Overview(devices=devices, night=_night(nights[0], verdicts) if nights else None)


def _night(row: tuple[Any, ...], verdicts: list[tuple[Any, ...]]) -> Night:
    night, finished_at, counts = row
    total: dict[str, int] = defaultdict(int)
    for _, kind, count in verdicts:
        total[kind] += count
    return Night(night=night, finished_at=finished_at, counts=json.loads(counts), verdicts=dict(total))


def states(home: Home) -> dict[str, Transition]:
    """The last change of each registered device's state as it is now, not as it was published: to ask every time.

    A record that cannot be read is left out; `quantfarm db verify` says which.
    """
    registry, found = Registry(home), {}
    for name in registry.names():
        try:
            row = registry.last(name)
        except Damaged:
            continue
        if row:
            found[name] = row
    return found


def running(home: Home) -> list[Unfinished]:
    """The sweeps that a process carries out now; `finished` of its `cells` have landed. To ask every time."""
    return [one for one in unfinished(home) if one.alive]
