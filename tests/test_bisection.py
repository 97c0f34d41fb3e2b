"""The search for the version that made a figure worse: few builds, no guess, and said where the story is longer."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from quantfarm.bisection.ratios import Measured, Ratio, Says, judge, reproduced
from quantfarm.bisection.search import Answer, Search

BATCH = 8


@dataclass
class World:
    """Versions with the true ratio of each to the first; `noise`: of every figure; `broken` cannot be built."""

    levels: Sequence[float]
    noise: float = 0.01
    broken: Collection[int] = ()
    seed: int = 0
    measured: dict[str, Measured] = field(default_factory=dict)
    built: list[str] = field(default_factory=list)

    @property
    def versions(self) -> list[str]:
        return [f"1.{n}" for n in range(len(self.levels))]

    def search(self) -> Search:
        return Search(versions=self.versions, measured=self.measured, batch=BATCH)

    def measure(self, version: str) -> None:
        index = self.versions.index(version)
        if version not in self.built:
            self.built.append(version)
        known = self.measured.setdefault(version, Measured())
        if index in self.broken:
            known.problem = "it does not compile"
            return
        chance = random.Random(f"{self.seed} {version} {len(known.good)}")
        known.good += [100 * math.exp(chance.gauss(0, self.noise)) for _ in range(BATCH)]
        known.other += [100 * self.levels[index] * math.exp(chance.gauss(0, self.noise)) for _ in range(BATCH)]

    def found(self) -> Answer:
        self.built.append(self.versions[0])  # it is measured beside each of the others
        self.measure(self.versions[-1])
        while version := self.search().next():
            self.measure(version)
        return self.search().answer()


def step(n: int, at: int, to: float) -> list[float]:
    return [1.0] * at + [to] * (n - at)


def test_it_names_the_first_bad_version_within_log2_n_plus_2_builds() -> None:
    chance = random.Random(1)
    for seed in range(150):
        n = chance.randint(2, 60)
        at = chance.randint(1, n - 1)
        to = chance.choice([0.7, 0.9, 0.95, 1.08, 1.5])
        world = World(step(n, at, to), seed=seed)
        answer = world.found()
        assert (answer.last_good, answer.first_bad) == (f"1.{at - 1}", f"1.{at}"), (seed, n, at, to)
        assert answer.stepped_over == ()
        assert len(world.built) <= math.ceil(math.log2(n - 1)) + 2, (seed, n, at)


def test_versions_that_cannot_be_built_are_stepped_over_and_the_answer_is_a_range_only_where_it_must_be() -> None:
    chance = random.Random(2)
    for seed in range(150):
        n = chance.randint(3, 40)
        at = chance.randint(1, n - 1)
        broken = {index for index in range(1, n - 1) if chance.random() < 0.25}
        world = World(step(n, at, 0.9), broken=broken, seed=seed)
        answer = world.found()
        good, bad = (world.versions.index(one) for one in (answer.last_good, answer.first_bad))
        assert good < at <= bad, (seed, n, at, broken)
        assert set(range(good + 1, bad)) <= broken
        assert answer.stepped_over == tuple(world.versions[good + 1 : bad])
        failed = sum(world.versions.index(version) in broken for version in world.built)
        assert len(world.built) <= math.ceil(math.log2(n - 1)) + 2 + 2 * failed


def test_the_estimate_of_what_is_left_is_kept() -> None:
    world = World(step(33, 20, 0.9))
    world.measure("1.32")
    left = world.search().left()
    assert left == 5
    while version := world.search().next():
        world.measure(version)
        assert world.search().left() < left
        left = world.search().left()
    assert left == 0


@pytest.mark.parametrize("levels", [step(9, 4, 0.9), step(9, 4, 1 / 0.9)])
def test_slower_and_larger_are_both_worse(levels: list[float]) -> None:
    assert World(levels).found().first_bad == "1.4"


def test_a_version_too_near_the_middle_gets_more_pairs_and_is_then_stepped_over() -> None:
    world = World([1, 1, math.sqrt(0.9), 0.9, 0.9], noise=0.02)
    answer = world.found()
    assert len(world.measured["1.2"].good) == 3 * BATCH
    assert (answer.last_good, answer.stepped_over, answer.first_bad) == ("1.1", ("1.2",), "1.3")
    trial = next(one for one in world.search().trials() if one.version == "1.2")
    assert trial.says is Says.UNDECIDED and "too near the middle" in trial.reason


def test_a_version_that_wants_more_pairs_gets_them_before_another_is_begun() -> None:
    world = World([1, 1, math.sqrt(0.9), 0.9, 0.9], noise=0.02)
    world.measure("1.4")
    world.measure("1.2")
    assert world.search().next() == "1.2"


def test_of_several_steps_it_names_one_and_says_that_there_are_others() -> None:
    answer = World([1, 1, 0.92, 0.92, 0.92, 0.8, 0.8]).found()
    assert answer.first_bad in ("1.2", "1.5")
    assert any("in all: other versions changed it too" in remark for remark in answer.remarks), answer
    if answer.first_bad == "1.5":
        assert any("not as good as 1.0: 1.2" in remark or "1.3" in remark for remark in answer.remarks), answer


def test_what_got_better_again_is_said() -> None:
    answer = World([1, 1, 1, 0.7, 0.7, 0.7, 0.9]).found()
    assert answer.first_bad == "1.3"
    assert any("later versions made up for some of it" in remark for remark in answer.remarks), answer


def test_one_step_needs_no_remark() -> None:
    quiet = [not World(step(17, 5, 0.9), seed=seed).found().remarks for seed in range(100)]
    assert sum(quiet) >= 95


# ------------------------------------------------------------------ is it there at all


def ratio(middle: float, low: float, high: float, pairs: int = 10) -> Ratio:
    return Ratio(ratio=middle, low=low, high=high, pairs=pairs)


@pytest.mark.parametrize(
    ("ends", "falls", "claimed", "says"),
    [
        (ratio(0.9, 0.88, 0.92), True, 0.9, Says.BAD),
        (ratio(1.1, 1.08, 1.12), False, 1.12, Says.BAD),  # a figure that should be low
        (ratio(1.1, 1.08, 1.12), True, 0.9, Says.GOOD),  # the other way round
        (ratio(1.0, 0.99, 1.01), True, 0.9, Says.GOOD),
        (ratio(0.97, 0.9, 1.04), True, 0.9, Says.UNDECIDED),  # too noisy to say
        (ratio(0.99, 0.985, 0.995), True, 0.9, Says.GOOD),  # it is slower, by less than counts
        (ratio(0.97, 0.96, 0.98), True, 0.9, Says.BAD),  # less than was seen, still a step
        (ratio(1.003, 1.003, 1.003), False, 1.004, Says.BAD),  # a perplexity has no spread
        (ratio(1.003, 1.003, 1.003), False, None, Says.BAD),
        (ratio(1.0, 1.0, 1.0), False, 1.004, Says.GOOD),
        (ratio(0.9, 0.88, 0.92), True, None, Says.BAD),
        (ratio(0.9, 0.88, 0.92), False, None, Says.GOOD),
        (ratio(1.0, 0.99, 1.01), True, None, Says.GOOD),
        (Ratio(ratio=0.5, low=None, high=None, pairs=5), True, 0.5, Says.UNDECIDED),  # below six pairs
    ],
)
def test_whether_good_and_bad_differ_now(ends: Ratio, falls: bool, claimed: float | None, says: Says) -> None:
    assert reproduced(ends, falls=falls, claimed=claimed) is says


def test_a_version_is_judged_by_the_middle_with_the_uncertainty_of_both() -> None:
    ends = ratio(0.81, 0.78, 0.84)  # the middle lies between 0.883 and 0.917
    assert judge(ratio(0.86, 0.84, 0.88), ends) is Says.BAD
    assert judge(ratio(0.94, 0.92, 0.96), ends) is Says.GOOD
    assert judge(ratio(0.90, 0.89, 0.91), ends) is Says.UNDECIDED
    assert judge(ratio(0.87, 0.85, 0.89), ends) is Says.UNDECIDED
    assert judge(Ratio(ratio=0.5, low=None, high=None, pairs=2), ends) is Says.UNDECIDED


def test_without_the_bad_one_there_is_no_middle() -> None:
    with pytest.raises(ValueError, match="was not measured"):
        Search(versions=["1", "2"], measured={}, batch=BATCH).next()


def test_the_same_measurements_lead_to_the_same_next_version(  # so a search that was killed goes on where it was
) -> None:
    world = World(step(20, 7, 0.9))
    world.measure("1.19")
    world.measure("1.9")
    copy: Mapping[str, Measured] = {
        name: Measured(good=one.good, other=one.other) for name, one in world.measured.items()
    }
    assert Search(versions=world.versions, measured=copy, batch=BATCH).next() == world.search().next()
