"""Nights for tests: landed by hand or measured on a fake device, without waiting for one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from quantfarm.nouns import (
    Artifact,
    Cell,
    DeviceProfile,
    Landed,
    Measurement,
    Outcome,
    Recipe,
    State,
    Variant,
    Workload,
    parameters,
)
from quantfarm.suites import DEFAULTS
from storage.artifacts import Artifacts
from storage.home import Home
from storage.landing import TraceWriter, land

FIRST = date(2026, 11, 1)
RECIPE = Recipe(source="ab" * 32, quantizer="gguf", quant="Q4_K_M", tool="made for tests")
BENCH = Workload(kind="bench", parameters=parameters({**DEFAULTS["bench"], "threads": 1}))
OK = Outcome(state=State.OK)


def night(number: int) -> str:
    """The number-th night, from 0."""
    return (FIRST + timedelta(days=number)).isoformat()


def fake(name: str = "desk", **script: Any) -> DeviceProfile:
    return DeviceProfile(name=name, kind="fake", simulated=True, chip="simulated", options=parameters(script))


def cell(
    profile: DeviceProfile | None = None, recipe: Recipe = RECIPE, workload: Workload = BENCH, **other: Any
) -> Cell:
    variant = Variant(model="m", format="gguf", quant=recipe.quant, recipe=recipe)
    about: dict[str, Any] = {"runtime": "llama_cpp", "build": "fake 1", **other}
    return Cell(profile=profile or fake(), variant=variant, workload=workload, **about)


def artifact(home: Path, recipe: Recipe = RECIPE, size: int = 2**20) -> Artifact:
    """A file of this size in the store, as the recipe made it."""
    file = home / f"{recipe.id}.gguf"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\1" * size)
    return Artifacts(Home(home)).adopt(file, recipe)


def put(
    home: Path,
    of: Cell,
    night: str,
    figures: Mapping[str, float],
    attempt: int = 1,
    sweep: str = "s1",
    outcome: Outcome = OK,
    artifact: Artifact | None = None,
    **conditions: Any,
) -> Landed:
    """Lands one launch of a night."""
    measured = tuple(Measurement(metric=name, value=value, unit="tok/s") for name, value in figures.items())
    made = artifact or Artifact(sha256=of.variant.recipe.id * 4, size=1000, recipe=of.variant.recipe)
    landed = Landed(
        cell=of,
        attempt=attempt,
        outcome=outcome,
        measurements=measured,
        artifact=made,
        conditions={"os": "Debian 13", **conditions},
        started_at=f"{night}T02:00:{of.launch:02d}.000+00:00",
        seconds=1.0,
        sweep=sweep,
        night=night,
    )
    with TraceWriter(Home(home), of.id, attempt) as trace:
        trace.write(json.dumps({"event": "begin", "schema": 1, "t": 0}))
    land(Home(home), landed, trace.path)
    return landed


def series(
    home: Path, values: Sequence[float | None], of: Cell | None = None, metric: str = "bench_tg", **conditions: Any
) -> None:
    """One launch a night; None is a night without data."""
    of = of or cell()
    for number, value in enumerate(values):
        if value is not None:
            put(home, of, night(number), {metric: value}, attempt=number + 1, **conditions)


def launches(of: Cell, count: int) -> list[Cell]:
    return [replace(of, launch=number) for number in range(count)]
