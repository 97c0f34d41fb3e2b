"""A rerun measures old and new in turn under one lease, and every run of it lands."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents import leases
from flows.rerun import PREFIX, interleaved, repeat
from flows.stopping import Stopped
from quantfarm.errors import FarmError
from quantfarm.nouns import Landed
from storage import wanted
from storage.home import Home
from storage.landing import Landings
from tests.nights import RECIPE, artifact, cell, fake

NIGHT = "2026-11-20"
OLD = cell()
NEW = cell(recipe=replace(RECIPE, tool="a newer tool"))
ASKED: dict[str, Any] = {"metric": "bench_tg", "holder": "a test", "night": NIGHT}


@pytest.fixture
def stored(home: Path) -> Home:
    """The new file is a tenth larger: the fake device decodes it that much slower."""
    artifact(home, OLD.variant.recipe, size=1000_000)
    artifact(home, NEW.variant.recipe, size=1100_000)
    return Home(home)


def landed(home: Home) -> list[Landed]:
    return sorted(Landings(home).all(), key=lambda one: one.started_at)


def test_old_and_new_take_turns_and_the_slower_one_shows(stored: Home) -> None:
    pairs = interleaved(stored, OLD, NEW, pairs=4, **ASKED)
    ratios = [new / old for old, new in zip(pairs.old, pairs.new, strict=True)]
    assert len(ratios) == 4
    assert all(0.85 < ratio < 0.97 for ratio in ratios)
    assert pairs.unit == "tok/s"
    runs = landed(stored)
    assert [one.cell.id == NEW.id for one in runs] == [False, True, True, False, False, True, True, False]
    assert {(one.night, one.sweep) for one in runs} == {(NIGHT, pairs.sweep)}
    assert pairs.sweep.startswith(PREFIX)
    assert len({one.conditions["lease"] for one in runs}) == 1


def test_another_metric_of_the_same_rerun_needs_no_run(stored: Home) -> None:
    speed = interleaved(stored, OLD, NEW, pairs=3, **ASKED)
    memory = interleaved(stored, OLD, NEW, pairs=3, **{**ASKED, "metric": "resident_peak"})
    assert memory.sweep == speed.sweep
    assert all(new > old for old, new in zip(memory.old, memory.new, strict=True))
    assert len(landed(stored)) == 6


def test_one_that_was_cut_off_is_begun_anew_and_what_it_landed_stays(stored: Home) -> None:
    def stop_after_three() -> bool:
        return len(landed(stored)) >= 3

    with pytest.raises(Stopped):
        interleaved(stored, OLD, NEW, pairs=3, stopped=stop_after_three, **ASKED)
    pairs = interleaved(stored, OLD, NEW, pairs=3, **ASKED)
    runs = landed(stored)
    assert len(runs) == 3 + 6
    assert sum(one.sweep == pairs.sweep for one in runs) == 6


def test_without_a_night_each_is_measured_anew(stored: Home) -> None:
    assert repeat(stored, NEW, launches=2, **{**ASKED, "night": ""})
    assert repeat(stored, NEW, launches=2, **{**ASKED, "night": ""})
    assert len(landed(stored)) == 4


def test_a_failed_run_ends_it_with_the_reason(stored: Home) -> None:
    broken = replace(NEW, profile=fake(fault="crash"))
    with pytest.raises(FarmError, match="GGML_ASSERT failed"):
        repeat(stored, broken, launches=2, **ASKED)
    assert len(landed(stored)) == 1


def test_a_device_that_goes_away_ends_it_with_the_reason(stored: Home) -> None:
    gone = replace(NEW, profile=fake(fault="unplug", away=3))
    with pytest.raises(FarmError, match="desk was unplugged"):
        repeat(stored, gone, launches=2, **ASKED)


def test_a_file_that_is_gone_is_said_before_the_device_is_asked_for(home: Path) -> None:
    with pytest.raises(FarmError, match=r"m Q4_K_M .* is not in the store any more"):
        repeat(Home(home), NEW, launches=1, **ASKED)


def test_one_question_twice_is_no_pair(stored: Home) -> None:
    with pytest.raises(FarmError, match="nothing to interleave"):
        interleaved(stored, OLD, OLD, pairs=2, **ASKED)


def test_it_lets_a_person_measure_between_two_pairs_and_goes_on(stored: Home) -> None:
    asked: list[str] = []

    def tell(text: str) -> None:
        if "run 3 of" in text and not asked:  # within a pair: it is finished first
            asked.append(text)
            person.start()

    def measure() -> None:
        with wanted.waiting(stored, "desk", 0, "a person"), leases.lease("fake-desk", "a person", lambda _: None):
            taken.append(len(landed(stored)))

    taken: list[int] = []
    person = threading.Thread(target=measure)
    pairs = interleaved(stored, OLD, NEW, pairs=6, priority=-5, tell=tell, **ASKED)
    person.join(20)
    assert len(taken) == 1
    assert taken[0] % 2 == 0
    assert taken[0] < 12
    assert len(pairs.new) == 6
