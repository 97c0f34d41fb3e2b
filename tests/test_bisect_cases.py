"""What a bisection does besides searching: what it asks, refuses, steps over, stops at and goes on with.

Builds and figures are played here (tests/test_bisect.py has real ones); all else is as it is.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from cli import bisect_view
from flows import bisect as bisecting
from flows.bisect_question import Asked, Subject, subject
from flows.bisect_runs import Fails
from flows.builds import CannotHave
from flows.rerun import Pairs
from flows.steps import Step, Teller
from flows.stopping import Stopped
from quantfarm.bisection.record import End, Record
from quantfarm.errors import FarmError, UsageError
from quantfarm.nouns import Cell, DeviceProfile, parameters
from quantfarm.toolchain import releases as index
from quantfarm.toolchain.releases import Release
from storage import bisects
from storage.home import Home
from tests import releases
from tests.bisecting import desk, regressed, upgraded
from tests.nights import cell, fake, night, put

GOOD, BAD = "0.3.30", "0.3.37"
OWN = "/own/python"


@dataclass
class Farm:
    """`levels`: by version what it decodes, of the good one; `own`: of the device's own installation of BAD."""

    home: Path
    levels: Mapping[str, float]
    own: float | None = None
    noise: float = 0.005
    trouble: Mapping[str, FarmError] = field(default_factory=dict)  # in making a build
    failing: tuple[str, ...] = ()
    made: list[str] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)
    said: list[Step] = field(default_factory=list)

    def with_build(self, _home: Home, profile: DeviceProfile, _runtime: str, build: str, *_: Any, own: bool) -> Any:
        version = build.rsplit(maxsplit=1)[-1]
        if version in self.trouble:
            raise self.trouble[version]
        if own and version == BAD:
            return profile
        self.made.append(version)
        return replace(profile, options=parameters(python=f"/made/{version}"))

    def in_turns(self, _home: Home, _good: Cell, other: Cell, *, pairs: int, **_: Any) -> Pairs:
        version = other.build.split()[-1]
        if version in self.failing:
            raise Fails("it fails at load: no such function")
        self.measured.append(version)
        own = dict(other.profile.options)["python"] == OWN and self.own is not None
        level = self.own if own and self.own is not None else self.levels[version]
        chance = random.Random(f"{version} {own} {len(self.measured)}")
        values = [tuple(1000 * of * math.exp(chance.gauss(0, self.noise)) for _ in range(pairs)) for of in (1.0, level)]
        return Pairs(old=values[0], new=values[1], unit="tok/s")

    def ask(self, **asked: Any) -> Subject:
        return subject(Home(self.home), Asked(**{"series": "bench_tg", "pairs": 6, **asked}))

    def bisect(self, *, fresh: bool = False, **asked: Any) -> Record:
        return bisecting.bisect(Home(self.home), self.ask(**asked), Teller("desk", self.said.append), fresh=fresh)

    @property
    def text(self) -> str:
        return "\n".join(f"{step.kind}: {step.text}" for step in self.said)


@pytest.fixture
def farm(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Farm]:
    upgraded(home, GOOD, BAD, OWN)
    known = tuple(Release(version=one, date=f"2026-03-{n:02d}") for n, one in enumerate(releases.VERSIONS, 1))
    monkeypatch.setattr(index, "released", lambda *_: known)

    def make(levels: Mapping[str, float] | None = None, *, first_bad: str = "0.3.34", **other: Any) -> Farm:
        step = {version: 0.5 if version >= first_bad else 1.0 for version in releases.VERSIONS}
        made = Farm(home=home, levels=levels or step, **other)
        monkeypatch.setattr(bisecting, "with_build", made.with_build)
        monkeypatch.setattr(bisecting, "in_turns", made.in_turns)
        monkeypatch.setattr(bisecting, "check_alike", lambda *_: None)
        return made

    return make


# ------------------------------------------------------------------ the search


def test_it_goes_from_the_last_regression_to_the_version(farm: Callable[..., Farm]) -> None:
    found = (playing := farm()).bisect()
    answer = found.answer()
    assert answer and (answer.last_good, answer.first_bad) == ("0.3.33", "0.3.34")
    assert found.dates["0.3.34"] == "2026-03-05"
    assert len(set(playing.made)) <= 3 + 2
    assert "At most 3 more versions to try, about" in playing.text
    assert any(step.kind == "step" and step.about_s > 0 for step in playing.said)


def test_what_was_judged_is_not_measured_again(farm: Callable[..., Farm], home: Path) -> None:
    """The network goes when the second version is to be made, comes back, and the search goes on."""
    gone = CannotHave("llama-cpp-python 0.3.33 cannot be had: no network", others=False)
    first = farm(trouble={"0.3.33": gone})
    with pytest.raises(CannotHave, match="no network"):
        first.bisect()
    assert first.measured == [BAD]
    then = farm()
    assert then.bisect().end() is End.FOUND
    assert BAD not in then.measured and "0.3.34" in then.measured
    again = farm()
    assert again.bisect().end() is End.FOUND
    assert (again.measured, again.made) == ([], [])
    fresh = farm()
    fresh.bisect(fresh=True)
    assert BAD in fresh.measured


def test_what_does_not_build_or_run_is_stepped_over(farm: Callable[..., Farm]) -> None:
    broken = CannotHave("llama-cpp-python 0.3.33 cannot be had: it does not compile", others=True)
    found = farm(trouble={"0.3.33": broken}, failing=("0.3.34",)).bisect()
    answer = found.answer()
    assert answer and (answer.last_good, answer.first_bad) == ("0.3.32", "0.3.35")
    assert answer.stepped_over == ("0.3.33", "0.3.34")
    reasons = {trial.version: trial.reason for trial in found.trials() if trial.reason}
    assert reasons["0.3.33"].endswith("it does not compile") and reasons["0.3.34"].startswith("it fails at load")
    (told, *_) = bisect_view.told(found)
    assert "the first bad version is one of 0.3.33, 0.3.34 and 0.3.35" in told


@pytest.mark.parametrize("end", [GOOD, BAD])
def test_without_the_good_or_the_bad_one_there_is_no_search(farm: Callable[..., Farm], end: str) -> None:
    playing = farm(trouble={end: CannotHave(f"llama-cpp-python {end} cannot be had: gone", others=True)})
    with pytest.raises(CannotHave, match=f"{end} cannot be had"):
        playing.bisect()
    assert playing.measured == []


def test_good_and_bad_that_are_alike_now_are_not_searched(farm: Callable[..., Farm]) -> None:
    found = (playing := farm(first_bad="9")).bisect()
    assert (found.end(), found.builds, playing.measured) == (End.NOT_REPRODUCED, 2, [BAD])
    assert bisect_view.told(found)[0].startswith("It cannot be reproduced: measured now, 0.3.37 differs from 0.3.30 by")


def test_what_is_too_noisy_gets_more_pairs_and_is_then_said(farm: Callable[..., Farm]) -> None:
    levels = dict.fromkeys(releases.VERSIONS, 0.85)
    found = (playing := farm(levels, noise=0.6)).bisect()
    assert (found.end(), playing.measured) == (End.TOO_NOISY, [BAD] * 3)
    assert "cannot be told apart" in bisect_view.told(found)[0]


def test_it_may_be_the_installation_and_no_version(farm: Callable[..., Farm]) -> None:
    """The device's own 0.3.37 is slow; the same version installed as the others were is not."""
    found = (playing := farm(first_bad="9", own=0.5)).bisect()
    assert found.end() is End.INSTALLATION
    assert playing.measured.count(BAD) == 2 and BAD in playing.made
    assert len(set(playing.made)) <= 3 + 2
    assert bisect_view.row(found)["first_bad"] is None
    assert "It is no version" in bisect_view.told(found)[0]


def test_the_newest_version_is_the_first_bad_one_only_if_it_is_bad_made_anew(farm: Callable[..., Farm]) -> None:
    found = farm(first_bad=BAD, own=0.5).bisect()
    assert found.end() is End.FOUND
    assert bisect_view.row(found)["first_bad"] == BAD
    assert len(bisect_view.told(found)) == 2


def test_a_person_may_name_the_two_ends_and_go_back_in_versions(farm: Callable[..., Farm]) -> None:
    levels = {version: 0.5 if version < "0.3.33" else 1.0 for version in releases.VERSIONS}
    row = bisect_view.row(farm(levels).bisect(good="0.3.36", bad="llama-cpp-python 0.3.31"))
    assert (row["last_good"], row["first_bad"]) == ("0.3.33", "0.3.32")
    assert row["versions"][0]["version"] == "0.3.36"
    assert row["reproduce"].endswith("--good 0.3.33 --bad 0.3.32 --pairs 6 --fresh")


def test_who_stops_keeps_what_was_measured(farm: Callable[..., Farm], home: Path) -> None:
    playing = farm(trouble={"0.3.33": Stopped("stopped")})
    with pytest.raises(Stopped):
        playing.bisect()
    kept = bisects.read(Home(home), playing.ask().question.id)
    assert kept and set(kept.measured) == {BAD, "0.3.33"} - {"0.3.33"}


def test_one_process_works_on_a_bisection(farm: Callable[..., Farm], home: Path) -> None:
    playing = farm()
    with bisects.alone(Home(home), playing.ask().question.id), pytest.raises(UsageError, match="by process"):
        playing.bisect()


def test_a_damaged_record_is_said_and_a_newer_one_refused(farm: Callable[..., Farm], home: Path) -> None:
    playing = farm()
    ident = playing.ask().question.id
    playing.bisect()
    path = bisects.path(Home(home), ident)
    body = json.loads(path.read_text())
    for text in ("not json", "{}", json.dumps({**body, "schema": 99}), json.dumps({**body, "versions": 3})):
        path.write_text(text)
        with pytest.raises(FarmError, match="Remove it to begin anew"):
            playing.bisect()


# ------------------------------------------------------------------ the question


def test_a_regression_without_a_new_build_has_no_versions_to_search(home: Path) -> None:
    profile = desk(home, BAD, OWN)
    one = releases.cell(Home(home), profile, BAD)
    regressed(home, one, one, changed={"os": ("Debian 12", "Debian 13")})
    with pytest.raises(UsageError, match="under one and the same build") as refused:
        subject(Home(home), Asked(series="bench_tg"))
    assert "What changed: os Debian 12 → Debian 13" in str(refused.value)
    assert "--good VERSION --bad VERSION" in str(refused.value)


def test_a_series_that_no_night_found_worse_needs_its_two_ends(home: Path, farm: Callable[..., Farm]) -> None:
    playing = farm()
    profile = desk(home, BAD, OWN)
    put(home, releases.cell(Home(home), profile, GOOD), night(2), {"bench_pp": 5.0}, attempt=7)
    from storage.ingest import ingest

    ingest(Home(home))
    with pytest.raises(UsageError, match="no night found a regression"):
        playing.ask(series="bench_pp")
    with pytest.raises(UsageError, match="no night says what the other version was"):
        playing.ask(series="bench_pp", good=GOOD)
    assert playing.ask(series="bench_pp", good=GOOD, bad=BAD).question.claimed is None


def test_what_cannot_be_asked_is_said_before_anything_is_built(farm: Callable[..., Farm], home: Path) -> None:
    playing = farm()
    with pytest.raises(UsageError, match="unknown series"):
        playing.ask(series="bench_tgg")
    with pytest.raises(UsageError, match="it takes 6 pairs"):
        playing.ask(pairs=5)
    with pytest.raises(UsageError, match="is no build whose versions can be searched"):
        playing.ask(good="the first one")
    with pytest.raises(UsageError, match="two packages"):
        playing.ask(good="other-package 1.0")
    (home / "device_profiles" / "desk.yaml").unlink()
    with pytest.raises(UsageError, match="not registered any more"):
        playing.ask()
    assert playing.made == []


def test_a_simulated_device_cannot_be_bisected(home: Path) -> None:
    folder = home / "device_profiles"
    folder.mkdir(parents=True)
    body = {"kind": "fake", "simulated": True, "chip": "simulated", "cores": 1, "memory_mib": 4096}
    (folder / "desk.yaml").write_text(json.dumps(body))
    old, new = (cell(fake("desk"), build=f"llama-cpp-python {version}") for version in (GOOD, BAD))
    regressed(home, old, new, changed={"build": (old.build, new.build)})
    with pytest.raises(CannotHave, match="simulated"):
        subject(Home(home), Asked(series="bench_tg"))


def test_builds_that_ran_on_another_backend_are_not_compared(home: Path) -> None:
    from flows.bisect_runs import check_alike

    one, other = (cell(build=f"llama-cpp-python {version}") for version in (GOOD, BAD))
    put(home, one, "", {"bench_tg": 1.0}, backend="CPU")
    put(home, other, "", {"bench_tg": 1.0}, backend="CUDA")
    with pytest.raises(FarmError, match=r"ran on CPU and .* on CUDA"):
        check_alike(Home(home), one, other)
