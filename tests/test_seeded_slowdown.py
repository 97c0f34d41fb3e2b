"""A slower build on one device: found the next night, confirmed, told in one message, and traced to its version.

All real: the machine that runs this, the reference model, builds in environments, nights and bisection as a user
starts them. Only the releases are small (tests/releases.py): from FIRST_BAD on they really take longer to decode.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import releases
from tests.bisecting import desk
from tests.nights import night
from tests.sweeping import quantfarm

OLD, FIRST_BAD, NEW = "0.3.33", "0.3.35", "0.3.37"
SLOWER = 2.0  # a decoding call takes three times as long: seen on a busy machine too
PAIRS = 6


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Path]:
    releases.index(tmp_path / "index", slow={FIRST_BAD: SLOWER})
    with releases.used(tmp_path / "index", tmp_path):
        yield tmp_path / "index"


@pytest.fixture
def farm(home: Path, index: Path, prefect_server: str) -> Path:
    """A device, what is watched on it, and a file that is told."""
    desk(home, OLD, releases.installed(OLD))
    watch = {
        "model": "reference",
        "devices": ["desk"],
        "quants": ["F16"],
        "runtimes": ["llama_cpp"],
        "launches": 2,
        "workloads": [releases.BENCH],
        "common": {"threads": 1},
    }
    (home / "nightly.yaml").write_text(json.dumps({"watches": [watch], "metrics": ["bench_tg"], "pairs": PAIRS}))
    sink = {"kind": "file", "path": "told.jsonl"}
    (home / "alerts.yaml").write_text(json.dumps({"sinks": [sink], "events": False}))
    return home


def told(home: Path) -> list[dict[str, Any]]:
    path = home / "told.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def measured(number: int, code: int = 0) -> dict[str, Any]:
    return json.loads(quantfarm("nightly", "run", "--night", night(number), "--json", code=code))


@pytest.mark.timeout(1800)  # two minutes where nothing else runs
def test_a_seeded_slow_down_is_found_the_next_night_confirmed_told_once_and_bisected(farm: Path) -> None:
    for number in range(3):
        (verdict,) = measured(number)["verdicts"]
        assert verdict["kind"] == "young"
    assert told(farm) == []

    desk(farm, NEW, releases.installed(NEW))  # somebody upgrades the device
    (verdict,) = measured(3, code=1)["verdicts"]
    assert verdict["kind"] == "regression", verdict
    assert (verdict["first_bad"], verdict["last_good"]) == (night(3), night(2))
    assert verdict["changed"]["build"] == [f"{releases.PACKAGE} {OLD}", f"{releases.PACKAGE} {NEW}"]
    confirmation = verdict["confirmation"]
    assert (confirmation["how"], confirmation["n"]) == ("interleaved", PAIRS)
    assert confirmation["high"] < 0.9 and confirmation["p"] <= 0.05
    assert not verdict["simulated"]

    (message,) = told(farm)
    text = json.dumps(message, ensure_ascii=False)
    assert message["night"] == night(3)
    for said in ("desk", "bench_tg", f"{releases.PACKAGE} {OLD} → {NEW}", "tok/s", "quantfarm nightly bisect"):
        assert said in text, f"{said!r} is not in {text}"
    measured(3, code=1)  # the same night once more: it has its report, and nobody is told again
    assert len(told(farm)) == 1

    series = json.loads(quantfarm("nightly", "status", "--json"))["open"][0]["series"]
    found = json.loads(quantfarm("nightly", "bisect", series, "--pairs", str(PAIRS), "--json"))
    assert (found["end"], found["last_good"], found["first_bad"]) == ("found", "0.3.34", FIRST_BAD), found
    assert found["builds"] <= 2 + 2  # ⌈log₂ 4⌉ + 2
