"""What quantized models are compared with: kept while somebody holds it, and made while nothing is measured here."""

from __future__ import annotations

import fcntl
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents import agent, leases
from flows import devices, make, rerun_jobs
from flows.carrying import Carried
from flows.logits import Logits, compares
from flows.stopping import Stopped
from quantfarm import variants
from quantfarm.nouns import Artifact, Cell, DeviceProfile, Workload, parameters
from quantfarm.suites import DEFAULTS
from quantfarm.variants import Source
from storage.home import Home
from tests.nights import artifact, cell

SOURCE = Source(name="m", id="ab" * 32, quant="F16", n_params=1000, size=1000, shape={})
QUALITY = Workload(kind="quality", parameters=parameters({**DEFAULTS["quality"], "text_sha256": "cd" * 32}))
#: Not this machine, and no simulated one.
ELSEWHERE = DeviceProfile(name="phone", kind="ssh", address="ssh://phone")


def quality(home: Path) -> tuple[Cell, Artifact]:
    """A cell elsewhere, and the unquantized model that it is compared with."""
    base = variants.base(SOURCE)
    assert base
    made = artifact(home, base.recipe)
    text = Home(home).folder("texts") / f"{'cd' * 32}.txt"
    text.write_text("It was a dark night.")
    return cell(ELSEWHERE, base.recipe, QUALITY), made


def leased_here() -> bool:
    with (leases.folder() / "local.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The file is written in no time; whether this machine was leased each time."""
    found: list[bool] = []

    def logits(home: Home, host: object, of: Cell, base: Artifact, text: Path, path: Path, stopped: object) -> None:
        found.append(leased_here())
        path.write_bytes(b"logits")

    monkeypatch.setattr(make, "_logits", logits)
    return found


def never() -> bool:
    return False


def test_a_file_stays_while_anybody_holds_it_and_the_last_one_removes_it(home: Path, written: list[bool]) -> None:
    of, base = quality(home)
    one, other = Logits(Home(home), never), Logits(Home(home), never)
    assert one.find(of, base) is None
    host: Any = None
    path = one.make(host, of, base, home)
    assert other.find(of, base) == path
    one.let_go()
    assert path.exists(), "the other one holds it"
    assert one.make(host, of, base, home) == path
    other.let_go()
    one.let_go()
    assert not path.exists()
    assert len(written) == 1


def test_who_is_told_to_stop_does_not_wait_for_another_who_makes_the_same(home: Path) -> None:
    of, base = quality(home)
    stop = threading.Event()
    lock = make.logits_path(Home(home), of, base).with_suffix(".lock")
    host: Any = None
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        timer = threading.Timer(0.5, stop.set)
        timer.start()
        with pytest.raises(Stopped):
            Logits(Home(home), stop.is_set).make(host, of, base, home)
        timer.join()


def test_a_simulated_device_compares_nothing(home: Path) -> None:
    of, _ = quality(home)
    assert compares(of)
    assert not compares(replace(of, profile=replace(ELSEWHERE, simulated=True)))
    assert not compares(cell(ELSEWHERE))


def test_a_sweep_makes_it_for_a_device_elsewhere_under_this_machine_s_lease(home: Path, written: list[bool]) -> None:
    of, _ = quality(home)
    farm = Home(home)
    prepared: Any = SimpleNamespace(
        source=SOURCE,
        host=agent(devices.known(farm)[devices.LOCAL]),
        text=home,
        holder="a sweep",
        sweep=SimpleNamespace(priority=0),
    )
    carried = Carried(farm, prepared)
    carried._make_missing([of, replace(of, launch=1)])
    assert written == [True]
    path = carried._quality_files(of)["base_logits"]
    assert path.exists()
    carried.end()
    assert not path.exists()


def test_what_could_not_be_made_is_the_reason_of_its_cells(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise make.MakeError("base logits: no such tensor")

    monkeypatch.setattr(make, "_logits", fails)
    of, _ = quality(home)
    farm = Home(home)
    host = agent(devices.known(farm)[devices.LOCAL])
    sweep = SimpleNamespace(priority=0)
    prepared: Any = SimpleNamespace(source=SOURCE, host=host, text=home, holder="a sweep", sweep=sweep)
    carried = Carried(farm, prepared)
    carried._make_missing([of])
    with pytest.raises(make.MakeError, match="no such tensor"):
        carried._quality_files(of)


def test_a_rerun_holds_it_against_a_sweep_that_ends(home: Path, written: list[bool]) -> None:
    of, base = quality(home)
    farm = Home(home)
    sweep, rerun = Logits(farm, never), Logits(farm, never)
    maker = rerun_jobs.Maker(logits=rerun, holder="a rerun", priority=-5, waiting=lambda _: None)
    path = rerun_jobs.job(farm, of, "rerun-1", "", maker).files["base_logits"]
    assert written == [True], "made under this machine's lease"
    assert sweep.find(of, base) == path
    sweep.let_go()
    assert path.exists(), "the rerun measures against it"
    rerun.let_go()
    assert not path.exists()
