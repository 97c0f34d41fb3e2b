"""A device with another build of its runtime: made once, beside what it has; what really ran is known."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from agents import leases
from flows import rerun
from flows.builds import CannotHave, with_build
from flows.stopping import Stopped
from quantfarm.builds import another
from quantfarm.errors import FarmError, UsageError
from quantfarm.nouns import Cell, DeviceProfile, State
from storage.home import Home
from storage.landing import Landings
from tests import releases
from tests.ssh.server import sshd

LLAMA = "llama_cpp"
SLOWER = 1.0  # a decoding call takes twice as long: seen on a busy machine too


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("releases")
    releases.index(folder / "index", slow={"0.3.34": SLOWER}, broken="0.3.32")
    with releases.used(folder / "index", folder):
        yield folder / "index"


@pytest.fixture
def here(home: Path, index: Path) -> DeviceProfile:
    return DeviceProfile(name="local", kind="local")


def built(profile: DeviceProfile, version: str, said: list[str] | None = None) -> DeviceProfile:
    tell = said.append if said is not None else print
    return with_build(Home.default(), profile, LLAMA, f"llama-cpp-python {version}", tell)


def python_of(profile: DeviceProfile) -> str:
    return str(dict(profile.options)["python"])


def cell_of(profile: DeviceProfile, version: str) -> Cell:
    return releases.cell(Home.default(), profile, version)


def test_it_is_the_same_device_with_another_python(here: DeviceProfile) -> None:
    found = built(here, "0.3.33")
    assert dict(found.builds) == {LLAMA: "llama-cpp-python 0.3.33"}
    assert Path(python_of(found)).exists()
    assert replace(found, builds=(), options=()) == here


def test_a_build_is_made_once_and_the_time_it_took_is_the_next_estimate(here: DeviceProfile) -> None:
    said: list[str] = []
    assert built(here, "0.3.35", said) == built(here, "0.3.35", said)
    assert said == ["local: installing llama-cpp-python 0.3.35 (about 5 min)"]
    built(here, "0.3.30", said)
    assert "5 min" not in said[1]


def test_the_build_that_a_device_has_needs_no_environment(here: DeviceProfile) -> None:
    has = replace(here, builds=((LLAMA, "llama-cpp-python 0.3.29"),))  # on no index
    assert built(has, "0.3.29") == has


def test_what_does_not_compile_leaves_nothing_and_another_build_may_do(here: DeviceProfile) -> None:
    with pytest.raises(CannotHave, match=r"0\.3\.32 cannot be had: .*does not compile here") as refused:
        built(here, "0.3.32")
    assert refused.value.others
    environments = Path(os.environ["QUANTFARM_CACHE"]) / "environments"
    assert all((one / "finished").exists() for one in environments.glob("llama_cpp-*") if one.is_dir())


def test_a_version_that_the_index_does_not_have_is_said(here: DeviceProfile) -> None:
    with pytest.raises(
        CannotHave, match=r"0\.4\.0 cannot be had: .*there is no version of llama-cpp-python==0\.4\.0"
    ) as said:
        built(here, "0.4.0")
    assert said.value.others


@pytest.mark.parametrize("runtime", ["llama_bench", "llama_native"])
def test_a_runtime_whose_programs_come_with_the_farm_has_no_other_builds(here: DeviceProfile, runtime: str) -> None:
    with pytest.raises(CannotHave) as refused:
        with_build(Home.default(), here, runtime, "llama-bench of llama-cpp-python 0.3.30", print)
    assert not refused.value.others


def test_a_simulated_device_has_no_builds_and_an_unknown_runtime_is_a_mistake(here: DeviceProfile) -> None:
    with pytest.raises(CannotHave, match="simulated"):
        built(replace(here, kind="fake", simulated=True), "0.3.30")
    with pytest.raises(UsageError, match="unknown runtime"):
        with_build(Home.default(), here, "llama_cp", "llama-cpp-python 0.3.30", print)


def test_nothing_is_built_while_somebody_measures(here: DeviceProfile) -> None:
    said: list[str] = []
    build, stop = "llama-cpp-python 0.3.31", lambda: bool(said)
    with leases.lease("local", "a sweep", lambda _: None), pytest.raises(Stopped):
        with_build(Home.default(), here, LLAMA, build, said.append, stop)
    assert said and said[0].startswith("local is in use by a sweep")


def test_who_stops_need_not_wait_for_a_compiler(here: DeviceProfile, index: Path) -> None:
    releases.write(index, releases.Release(version="0.3.40", seconds=300))
    said: list[str] = []
    began = time.monotonic()
    with pytest.raises(Stopped):
        with_build(
            Home.default(), here, LLAMA, "llama-cpp-python 0.3.40", said.append, lambda: time.monotonic() > began + 3
        )
    assert time.monotonic() - began < 120
    assert not [one for one in psutil.process_iter() if "uv" in one.name() and "0.3.40" in " ".join(_command(one))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_build_that_a_killed_farm_left_running_is_waited_for(here: DeviceProfile, index: Path) -> None:
    releases.write(index, releases.Release(version="0.3.41", seconds=6))
    words = "import sys; from pathlib import Path; from storage.home import Home; from flows.builds import with_build"
    words += "; from quantfarm.nouns import DeviceProfile; p = DeviceProfile(name='local', kind='local')"
    words += "; with_build(Home.default(), p, 'llama_cpp', 'llama-cpp-python 0.3.41', lambda t: print(t, flush=True))"
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, text=True) as killed:
        try:
            assert killed.stdout and "installing" in killed.stdout.readline()
            time.sleep(2.0)
        finally:
            killed.kill()
    said: list[str] = []
    assert Path(python_of(built(here, "0.3.41", said))).exists()
    # A compiler may still be at work: then nothing is measured, nor made a second time, beside it.
    assert any("in use by making llama-cpp-python 0.3.41" in line for line in said), said


def test_two_builds_measured_in_turns_show_the_difference_between_them(here: DeviceProfile) -> None:
    old, new = (cell_of(built(here, version), version) for version in ("0.3.33", "0.3.34"))
    pairs = rerun.interleaved(Home.default(), old, new, metric="bench_tg", pairs=4, holder="a test")
    ratios = sorted(after / before for before, after in zip(pairs.old, pairs.new, strict=True))
    assert (ratios[1] + ratios[2]) / 2 < 0.8, pairs
    versions = [one.conditions["versions"]["llama-cpp-python"] for one in Landings(Home.default()).all()]
    assert sorted(versions) == ["0.3.33"] * 4 + ["0.3.34"] * 4


def test_a_run_of_another_build_than_the_cells_is_a_failure(here: DeviceProfile) -> None:
    old, new = cell_of(built(here, "0.3.33"), "0.3.33"), cell_of(built(here, "0.3.35"), "0.3.34")
    with pytest.raises(FarmError, match=r"llama-cpp-python 0\.3\.35 ran, not 0\.3\.34"):
        rerun.interleaved(Home.default(), old, new, metric="bench_tg", pairs=1, holder="a test")
    landed = Landings(Home.default()).latest(new.id)
    assert landed and (landed.outcome.state, landed.measurements) == (State.FAILED, ())


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({"llama-cpp-python": "0.3.34"}, ""),
        ({"llama-cpp-python": "0.3.35"}, "llama-cpp-python 0.3.35 ran, not 0.3.34"),
        ({"ggml": "0.20.0"}, ""),  # it does not say
        ({}, ""),
        (None, ""),
        (["a", "device", "may", "say", "anything"], ""),
        ({"llama-cpp-python": ["0.3.34"]}, "llama-cpp-python ['0.3.34'] ran, not 0.3.34"),
    ],
)
def test_which_build_ran_is_what_the_runner_says(versions: object, said: str) -> None:
    assert another("llama-cpp-python 0.3.34", versions) == said
    assert another("llama-bench of llama-cpp-python 0.3.34", versions) == ""


def test_what_is_compiled_otherwise_is_another_environment(
    here: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = built(here, "0.3.33")
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_CUDA=on")
    assert python_of(built(here, "0.3.33")) != python_of(plain)


# ------------------------------------------------------------------ elsewhere


def test_a_device_that_ssh_reaches_makes_it_itself_from_its_own_index(home: Path, index: Path, tmp_path: Path) -> None:
    with sshd(tmp_path, lines=f"SetEnv PIP_NO_INDEX=1 PIP_FIND_LINKS={index} PATH=/usr/bin:/bin") as server:
        profile = server.with_options(python=sys.executable)
        found = built(profile, "0.3.34")
        assert python_of(found).startswith(str(server.files))
        assert built(profile, "0.3.34") == found
        with pytest.raises(CannotHave, match="does not compile here") as refused:
            built(profile, "0.3.32")
        assert refused.value.others


def test_a_device_without_python_cannot_have_any(home: Path, index: Path, tmp_path: Path) -> None:
    with sshd(tmp_path) as server, pytest.raises(CannotHave, match=r"no Python 3\.11 or newer at /no/python") as said:
        built(server.with_options(python="/no/python"), "0.3.34")
    assert not said.value.others


def test_an_estimate_that_cannot_be_read_is_no_obstacle(here: DeviceProfile) -> None:
    (Home.default().folder("builds") / "local.json").write_text("not json")
    said: list[str] = []
    built(here, "0.3.36", said)
    assert not said or "about 5 min" in said[0]
