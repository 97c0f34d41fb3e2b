"""What views ask beyond candidates: what is known, what is behind a figure, and what one night measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quantfarm.nouns import Measurement
from storage.behind import behind, of, taken
from storage.candidates import candidates
from storage.home import Home
from storage.ingest import ingest
from storage.measured import measured
from storage.night_side import night_side, nights_of
from storage.reading import Reader
from tests.storing import APP, FAILED, PHONE, QUALITY, cell, landed, launches, put


@pytest.fixture
def farm(home: Path) -> Home:
    return Home(home)


def test_devices_and_models_are_known_real_ones_first(farm: Home) -> None:
    launches(farm, "decode_tps", [1.0], cell(workload=APP, profile=replace(PHONE, name="a-fake", simulated=True)))
    launches(farm, "decode_tps", [1.0, 2.0], cell(workload=APP))
    put(farm, landed(cell(7, APP), outcome=FAILED))
    ingest(farm)
    with Reader(farm) as reader:
        found = [(one.device, one.simulated, one.chip, one.ok) for one in measured(reader)]
    assert found == [("laptop", False, "N100", 2), ("a-fake", True, "Tensor G3", 1)]


def test_behind_a_speed_are_its_own_launches_and_behind_a_quality_the_files_wherever(farm: Home) -> None:
    launches(farm, "decode_tps", [1.0, 2.0], cell(workload=APP, profile=PHONE))
    launches(farm, "decode_tps", [9.0], cell(workload=APP))
    put(farm, landed(cell(workload=QUALITY), figures=[Measurement(metric="ppl", value=9.0, unit="", n=5)]))
    bad = Measurement(metric="decode_tps", value=99.0, unit="tok/s", remark="invalid: page faults")
    put(farm, landed(cell(5, APP, profile=PHONE), figures=[bad]))
    ingest(farm)
    with Reader(farm) as reader:
        (phone,) = candidates(reader, device="phone")
        speeds = of(phone, "decode_tps", behind(reader, "phone", "reference", "decode_tps"))
        (loss,) = of(phone, "ppl", behind(reader, "phone", "reference", "ppl"))
    assert [(one.value, one.launch, one.chip) for one in speeds] == [(1.0, 0, "Tensor G3"), (2.0, 1, "Tensor G3")]
    assert loss.device == "laptop" and loss.cell == cell(workload=QUALITY).id and loss.attempt == 1


def test_when_launches_were_is_known_by_metric_and_workload(farm: Home) -> None:
    for n, minute in enumerate(("05", "01")):
        at = f"2026-01-01T00:{minute}:00.000+00:00"
        put(farm, landed(cell(n, APP), figures={"decode_tps": 10.0 + n}, started_at=at))
    ingest(farm)
    with Reader(farm) as reader:
        (one,) = candidates(reader)
        found = taken(reader, one.device, one.model, one.variant, one.runtime, one.build)
    these = found["decode_tps", one.workloads["decode_tps"]]
    assert [t.value for t in these] == [10.0, 11.0] and these[0].at - these[1].at == 240


def test_a_night_is_a_candidate_of_its_own_and_reruns_are_no_part_of_it(farm: Home) -> None:
    for attempt, (night, value, sweep) in enumerate(
        [("2026-11-20", 100.0, "s1"), ("2026-11-21", 80.0, "s2"), ("2026-11-21", 5.0, "rerun-s2")], start=1
    ):
        done = landed(cell(0, APP), attempt, figures={"decode_tps": value}, started_at=f"{night}T01:00:00.000+00:00")
        put(farm, replace(done, night=night, sweep=sweep))
    ingest(farm)
    whose = ("laptop", "reference", "Q4_K_M", "llama_cpp")
    with Reader(farm) as reader:
        assert nights_of(reader, *whose) == ["2026-11-21", "2026-11-20"]
        sides = [night_side(reader, *whose, night) for night in ("2026-11-20", "2026-11-21", "2026-11-22")]
    assert [side.value("decode_tps") if side else None for side in sides] == [100.0, 80.0, None]
