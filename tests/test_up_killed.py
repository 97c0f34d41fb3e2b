"""kill -9 of the parts of a running `quantfarm up`, at random moments: nothing lost, doubled or run again, and each
part is back within a minute. `benchmarks/kills.py` does the same a hundred times."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
KILLS = 10
#: After so many seconds no more are made.
BUDGET_S = 600


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


killed_farm = _load("killed_farm")
kills = _load("kills")


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[killed_farm.Farm]:  # pyright: ignore
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    made = killed_farm.Farm(tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.timeout(1500)
def test_ten_kills_of_any_part_at_random_moments_cost_nothing(farm: killed_farm.Farm) -> None:  # pyright: ignore
    farm.start()
    began = time.monotonic()
    kills.many(farm, KILLS, BUDGET_S, seed=4, tell=print)
    print(f"{len(farm.kills)} kills in {time.monotonic() - began:.0f} s")  # noqa: T201
    assert len(farm.kills) >= KILLS
    assert {one.part for one in farm.kills} == set(killed_farm.PARTS)
    assert max(one.recovery_s for one in farm.kills) <= killed_farm.RECOVERY_S
    assert farm.cells > 0
    farm.stop()  # TERM: every process of the farm ends
    killed_farm.leases_free(farm.folder / "leases")
    assert not list((farm.home.root / "artifacts" / ".partial").iterdir())
    assert not list((farm.home.root / "cells").glob(".*"))


def test_the_table_says_the_worst(capsys: pytest.CaptureFixture[str]) -> None:
    told = kills.table([killed_farm.Kill("server", 3.0), killed_farm.Kill("server", 9.0)])
    assert told[2] == "| server | 2 | 6.0 s | 9.0 s | ≤ 60 s |"
