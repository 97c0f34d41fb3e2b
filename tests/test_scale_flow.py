"""A small farm of many devices through the real sweep: nothing lost or doubled, and nothing that grows with it
without bound. `benchmarks/scale.py` is the same with 200 devices and 20,000 cells; times are told there alone."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARK = Path(__file__).resolve().parent.parent / "benchmarks" / "scale.py"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("scale", BENCHMARK)
    assert spec and spec.loader
    scale = importlib.util.module_from_spec(spec)
    sys.modules["scale"] = scale
    spec.loader.exec_module(scale)
    return scale.measure(devices=20, cells=600, sleep_s=0.2, folder=tmp_path_factory.mktemp("scale"))


@pytest.mark.timeout(600)
def test_no_cell_is_lost_or_doubled(found: dict[str, Any]) -> None:
    assert found["cells"] == 600 == found["landed"]
    assert (found["lost"], found["doubled"], found["not_ok"]) == (0, 0, 0)
    assert found["counts"]["ok"] == 600 and found["counts"]["failed"] == 0


def test_every_device_has_a_lane_of_its_own_from_the_beginning(found: dict[str, Any]) -> None:
    """Not as many as a pool of threads happens to have."""
    assert found["last_lane_began_after_s"] < found["makespan_s"] / 2


def test_the_controller_s_memory_is_bounded(found: dict[str, Any]) -> None:
    assert found["controller_peak_mib"] < 700
    assert found["controller_threads"] < 20 + 60


def test_artifacts_of_a_sweep_do_not_multiply_with_its_cells(found: dict[str, Any]) -> None:
    assert found["server_artifacts"] < 60


def test_the_database_holds_what_landed_and_is_not_large(found: dict[str, Any]) -> None:
    assert found["counts"]["version"] == 1
    assert 0 < found["duckdb_mib"] < 50
