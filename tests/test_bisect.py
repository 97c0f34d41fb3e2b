"""quantfarm nightly bisect: from a series to the version that made it worse, with real builds measured for real."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage import bisects
from storage.home import Home
from tests import releases
from tests.bisecting import upgraded
from tests.sweeping import landings, quantfarm, start

SLOWER = 2.0  # a decoding call takes three times as long: told apart on a busy machine too
FIRST_BAD = "0.3.34"
GOOD, BAD = "0.3.30", "0.3.37"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("releases")
    releases.index(folder / "index", slow={FIRST_BAD: SLOWER}, broken="0.3.33")
    with releases.used(folder / "index", folder):
        yield folder / "index"


@pytest.fixture
def series(home: Path, index: Path) -> str:
    return upgraded(home, GOOD, BAD, releases.installed(BAD))


def bisect(*arguments: str, code: int = 0) -> dict[str, Any]:
    return json.loads(quantfarm("nightly", "bisect", *arguments, "--pairs", "6", "--json", code=code))


def runs(home: Path) -> int:
    return sum(landed.sweep.startswith("rerun-") for landed in landings(home).all())


@pytest.mark.timeout(1800)  # two minutes where nothing else runs
def test_it_names_the_first_bad_version_steps_over_what_does_not_build_and_goes_on_after_a_kill(
    home: Path, series: str
) -> None:
    killed = start("nightly", "bisect", series, "--pairs", "6")
    (state,) = _wait_for(home, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = runs(home)
    known = bisects.read(Home(home), state.stem)
    assert known and sum(len(one.good) for one in known.measured.values()) >= 6

    found = bisect(series)
    assert (found["end"], found["last_good"], found["first_bad"]) == ("found", "0.3.32", FIRST_BAD), found
    assert found["stepped_over"] == ["0.3.33"]
    assert found["builds"] <= 3 + 2 + 1  # ⌈log₂ 7⌉ + 2, and the one that does not compile
    says = {one["version"]: (one["says"], one["reason"]) for one in found["versions"]}
    assert says["0.3.33"][0] == "cannot be measured" and "does not compile here" in says["0.3.33"][1]
    assert {says[version][0] for version in (GOOD, "0.3.32")} == {"good"}
    assert 0.15 < found["all"]["ratio"] < 0.7

    # What was judged before it was killed was not measured again, and a finished one is only told.
    counted = sum(one["pairs"] for one in found["versions"]) * 2
    cut_off = before - 2 * sum(len(one.good) for one in known.measured.values())
    assert runs(home) == counted + cut_off
    assert bisect(series)["finished_at"] == found["finished_at"]
    assert runs(home) == counted + cut_off

    told = quantfarm("nightly", "bisect", series, "--pairs", "6")
    assert f"the first bad version is one of 0.3.33 and {FIRST_BAD}" in told
    assert f"quantfarm nightly bisect {series} --good 0.3.32 --bad {FIRST_BAD} --pairs 6 --fresh" in told


def _wait_for(home: Path, process: Any) -> list[Path]:
    """Until a version has been judged; its file."""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        found = list((home / bisects.FOLDER).glob("*.json"))
        if found and json.loads(found[0].read_text())["measured"]:
            return found
        time.sleep(0.1)
    raise AssertionError("nothing was judged")
