"""A night through the real flow: measured, judged, measured again, told by the run's state and its report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.night_expected import Night
from flows.nightly_files import read
from quantfarm.nightly.verdicts import Kind, NightReport, Verdict
from quantfarm.nouns import Cell, metric_of
from storage import nights
from storage.home import Home
from storage.landing import Landings
from tests.nights import night, put

#: What a fake device decodes of the reference model's F16 file is proportional to its bandwidth.
BANDWIDTH = 20.0


def device(home: Path, name: str = "desk", **options: Any) -> None:
    folder = home / "device_profiles"
    folder.mkdir(parents=True, exist_ok=True)
    script = {"bandwidth_gib_s": BANDWIDTH, "noise": 0.001, **options}
    body = {"kind": "fake", "simulated": True, "chip": "simulated", "cores": 4, "memory_mib": 8192, "options": script}
    (folder / f"{name}.yaml").write_text(json.dumps({**body, "os": script.pop("os", "simulated 1")}))


def watch(home: Path, **other: Any) -> None:
    body: dict[str, Any] = {
        "watches": [
            {
                "model": "reference",
                "devices": ["desk"],
                "quants": ["F16"],
                "launches": 1,
                "workloads": [{"kind": "bench", "n_prompt": 32, "n_gen": 8}],
                "common": {"threads": 1},
                "retries": 0,
            }
        ],
        "metrics": ["bench_tg"],
        "pairs": 6,
        **other,
    }
    home.mkdir(parents=True, exist_ok=True)
    (home / "nightly.yaml").write_text(json.dumps(body))


@pytest.fixture
def farm(home: Path, prefect_server: None) -> Path:
    device(home)
    watch(home)
    return home


def cells(home: Path) -> list[Cell]:
    """What the watch list asks for."""
    ((_, plan),) = Night.of(Home(home), night(0), read(Home(home))).plans
    return list(plan.cells)


def measured(home: Path, number: int, **given: Any) -> NightReport:
    """The number-th night, through the flow."""
    from flows.nightly import nightly

    state = nightly(night=night(number), return_state=True, **given)  # type: ignore[call-arg]
    report = nights.report(Home(home), night(number))
    assert report, state.message
    return report


def only(report: NightReport) -> Verdict:
    (verdict,) = report.verdicts
    return verdict


def history(home: Path, steady: int) -> float:
    """A night that was measured, and the same value with 0.1 % of noise for the nights before it."""
    measured(home, 40)
    (cell,) = cells(home)
    (landed,) = Landings(Home(home)).all()
    figure = metric_of(landed.measurements, "bench_tg")
    assert figure
    for number in range(40 - steady, 40):
        noise = 1 + 0.001 * ((number * 7) % 5 - 2) / 2
        put(
            home,
            cell,
            night(number),
            {"bench_tg": figure.value * noise},
            attempt=100 + number,
            **{key: landed.conditions[key] for key in ("os", "versions", "system", "backend", "settings")},
        )
    return figure.value


def test_the_first_night_is_young(farm: Path) -> None:
    verdict = only(measured(farm, 0))
    assert (verdict.kind, verdict.simulated) == (Kind.YOUNG, True)
    assert verdict.new
    assert verdict.new.unit == "tok/s"
