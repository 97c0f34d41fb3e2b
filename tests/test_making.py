"""Variants are made side by side within what this machine can bear; one that fails costs its own cells alone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows import making
from flows.making import LEAST, MEMORY_EACH, MOST, at_once
from flows.stopping import Stopped
from quantfarm.nouns import Artifact, Recipe, State, Variant
from storage.atomic import NoRoom
from storage.home import Home
from tests.sweeping import counts, landings
from tests.test_sweep_flow import fake

GIB = 2**30


@pytest.mark.parametrize("cores", [1, 2, 4, 8, 16, 64, 256])
@pytest.mark.parametrize("free_gib", [0, 1, 8, 64, 1024])
def test_neither_memory_nor_cores_are_overcommitted(cores: int, free_gib: int) -> None:
    size = 4 * GIB
    found = at_once(size, cores, free_gib * GIB)
    assert 1 <= found <= MOST
    assert found == 1 or found * MEMORY_EACH * size <= free_gib * GIB
    assert found <= max(LEAST, cores // making.CORES_EACH)


def test_how_many_are_made_at_once() -> None:
    plenty = 10**15
    assert at_once(GIB, cores=2, free=plenty) == LEAST
    assert at_once(GIB, cores=16, free=plenty) == 4
    assert at_once(GIB, cores=256, free=plenty) == MOST
    assert at_once(GIB, cores=256, free=int(3.5 * MEMORY_EACH * GIB)) == 3
    assert at_once(GIB, cores=256, free=0) == 1, "one is always made"
    assert at_once(0, cores=2, free=0) == 1


def variant(number: int) -> Variant:
    return Variant(
        model="m", format="gguf", quant="Q8_0", recipe=Recipe(source=f"{number}", quantizer="gguf", quant="Q8_0")
    )


@contextmanager
def quantizing(monkeypatch: pytest.MonkeyPatch, one: Callable[[Variant], Artifact]) -> Iterator[None]:
    """The task's place taken by a function; what it raises is the state's, as Prefect has it."""

    def quantize(home: Home, host: object, wanted: Variant, *_: object, **__: object) -> Any:
        try:
            found: Any = one(wanted)
        except Exception as error:
            found = error
        return SimpleNamespace(result=lambda **_: found)

    with monkeypatch.context() as patched:
        patched.setattr(making, "quantize", quantize)
        yield


def make(home: Path, variants: list[Variant], stop: threading.Event | None = None) -> Any:
    prepared: Any = SimpleNamespace(source=SimpleNamespace(size=1), host=None, source_files=home)
    return making.make(Home(home), prepared, variants, stop or threading.Event())


def made(wanted: Variant) -> Artifact:
    return Artifact(sha256=wanted.recipe.source, size=1, recipe=wanted.recipe)


def test_several_are_made_at_once_and_no_more_than_the_bound(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "at_once", lambda *_: 3)
    together, most = threading.Barrier(3), [0, 0]
    lock = threading.Lock()

    def one(wanted: Variant) -> Artifact:
        with lock:
            most[0] += 1
            most[1] = max(most)
        together.wait(60)  # breaks unless three are at work at the same time
        time.sleep(0.05)
        with lock:
            most[0] -= 1
        return made(wanted)

    with quantizing(monkeypatch, one):
        there, failed = make(home, [variant(n) for n in range(9)])
    assert (len(there), failed, most[1]) == (9, {}, 3)


def test_one_that_fails_is_said_and_the_others_are_made(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one(wanted: Variant) -> Artifact:
        if wanted.recipe.source == "2":
            raise RuntimeError("no such tensor")
        return made(wanted)

    with quantizing(monkeypatch, one):
        there, failed = make(home, variants := [variant(n) for n in range(5)])
    assert failed == {variants[2].recipe.id: "no such tensor"}
    assert set(there) == {one.recipe.id for one in variants} - set(failed)


@pytest.mark.parametrize("error", [NoRoom("the disk is full"), Stopped("stopped")])
def test_a_full_disk_and_a_stop_end_it_and_nothing_more_is_begun(
    home: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(making, "at_once", lambda *_: 1)
    begun: list[str] = []

    def one(wanted: Variant) -> Artifact:
        begun.append(wanted.recipe.source)
        raise error

    stop = threading.Event()
    with quantizing(monkeypatch, one), pytest.raises(type(error)):
        make(home, [variant(n) for n in range(50)], stop)
    assert stop.is_set()
    assert len(begun) < 50


def test_the_cells_of_a_variant_that_cannot_be_made_fail_with_the_reason_and_the_others_are_measured(
    home: Path, prefect_server: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    device = fake(home, "bench-phone")
    asked = ("--devices", device, "--quants", "Q8_0,Q4_0", "--suite", "speed", "--launches", "1", "-p", "16", "-n", "8")
    done = counts(*asked, code=1, PYTHONPATH=str(tmp_path))
    assert (done["ok"], done["failed"]) == (2, 2)
    by_quant = {(one.cell.variant.quant, one.outcome.state, one.outcome.stage) for one in landings(home).all()}
    assert by_quant == {("Q8_0", State.OK, ""), ("Q4_0", State.FAILED, "quantize")}
    reasons = {one.outcome.reason for one in landings(home).all()} - {""}
    assert all("no Q4_0 today" in reason for reason in reasons), reasons


#: Makes the quantizer's process, and no other, say no to one quantization.
BROKEN = f"""
import sys
if any({json.dumps('"quant": "Q4_0"')} in word for word in sys.orig_argv):
    print('{{"event": "begin", "t": 0, "schema": 1, "clock": "monotonic_ns", "runner": "none", "versions": {{}}}}')
    print('{{"event": "end", "t": 1, "ok": false, "stage": "run", "error": "no Q4_0 today"}}', flush=True)
    import os
    os._exit(1)
"""
