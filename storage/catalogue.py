"""What there is to choose from in the results: devices, models, variants, runtimes, workloads, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from storage.reading import Reader

NAMES = """
SELECT {column}, count(*) FILTER (state = 'ok'), count(*) FILTER (state <> 'ok'), bool_and(simulated), max(started_at)
FROM cells WHERE current{only} GROUP BY 1 ORDER BY {order}
"""
METRICS = """
SELECT metric, any_value(unit), array_agg(DISTINCT workload_kind ORDER BY workload_kind), count(*)
FROM measurements JOIN cells USING (cell, attempt) WHERE current AND state = 'ok'{only} GROUP BY metric ORDER BY metric
"""
NEWEST = """
SELECT device, model, sweep, night, started_at FROM cells
WHERE started_at IS NOT NULL{only} ORDER BY started_at DESC, cell LIMIT 1
"""
BY_NAME, BY_BITS = "1", "any_value(bits_per_weight) DESC NULLS LAST, 1"
#: What an answer may be narrowed by.
FILTERS = ("device", "model", "variant", "runtime", "workload", "workload_kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """`ok`, `failed`: its cells. `simulated`: measured on simulated devices alone. `last_at`: UTC, when one began."""

    name: str
    ok: int
    failed: int
    simulated: bool
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """`kinds`: of the workloads that it was measured in. `launches`: that have it."""

    name: str
    unit: str
    kinds: tuple[str, ...]
    launches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """What was measured last. `night` is empty where a person asked; `started_at` is UTC."""

    device: str
    model: str
    sweep: str
    night: str
    started_at: datetime


def devices(reader: Reader, **only: str) -> list[Name]:
    """Those with results. Like all here: narrowed by any of FILTERS, `devices(reader, model="reference")`."""
    return _names(reader, "device", only)


def models(reader: Reader, **only: str) -> list[Name]:
    return _names(reader, "model", only)


def variants(reader: Reader, **only: str) -> list[Name]:
    """The most bits per weight first."""
    return _names(reader, "variant", only, BY_BITS)


def runtimes(reader: Reader, **only: str) -> list[Name]:
    return _names(reader, "runtime", only)


def workloads(reader: Reader, **only: str) -> list[Name]:
    """By label: `bench pp512 tg128`."""
    return _names(reader, "workload", only)


def metrics(reader: Reader, **only: str) -> list[Metric]:
    rows = reader.rows(METRICS.format(only=_where(only)), only)
    return [Metric(name=name, unit=unit, kinds=tuple(kinds), launches=n) for name, unit, kinds, n in rows]


def newest(reader: Reader, **only: str) -> Newest | None:
    """None where nothing was measured."""
    for device, model, sweep, night, at in reader.rows(NEWEST.format(only=_where(only)), only):
        return Newest(device=device, model=model, sweep=sweep, night=night or "", started_at=at)
    return None


def _names(reader: Reader, column: str, only: Mapping[str, str], order: str = BY_NAME) -> list[Name]:
    rows = reader.rows(NAMES.format(column=column, only=_where(only), order=order), only)
    return [Name(name=name, ok=ok, failed=f, simulated=s, last_at=at) for name, ok, f, s, at in rows]


def _where(only: Mapping[str, str]) -> str:
    assert all(name in FILTERS for name in only), only
    return "".join(f" AND {name} = ${name}" for name in only)
