"""What a night says of a series, by the nights alone; and what measuring again makes of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantfarm.nightly import evidence, judge, metrics
from quantfarm.nightly.candidates import Candidate, Rules
from quantfarm.nightly.evidence import Evidence
from quantfarm.nightly.judge import Judged
from quantfarm.nightly.points import Point
from quantfarm.nightly.series import SeriesKey
from quantfarm.nightly.verdicts import Confirmation, Kind, Verdict
from tests.nights import night

KEY = SeriesKey(
    device="desk", model="m", variant="Q4_K_M", runtime="llama_cpp", workload="bench pp512 tg128", metric="bench_tg"
)
OLD = {"os": "Debian 13", "build": "llama-cpp-python 0.3.35", "artifact": "a" * 64}
NEW = {**OLD, "build": "llama-cpp-python 0.3.36"}


def points(values: Sequence[float], attributes: dict[str, str] | None = None, begin: int = 0) -> list[Point]:
    return [
        Point(night=night(begin + at), value=value, unit="tok/s", cells=(f"c{at}",), attributes=attributes or OLD)
        for at, value in enumerate(values)
    ]


def noisy(level: float, count: int, cv: float = 0.01, seed: int = 1) -> list[float]:
    dice = random.Random(seed)
    return [level * (1 + cv * dice.gauss(0, 1)) for _ in range(count)]


def last(nights: Sequence[Point], earlier: Sequence[Verdict] = (), key: SeriesKey = KEY) -> Judged:
    return judge.judge(nights[-1].night, key, nights, earlier)


def candidate(nights: Sequence[Point], key: SeriesKey = KEY) -> Candidate:
    found = last(nights, key=key)
    assert isinstance(found, Candidate), found
    return found


def verdict(nights: Sequence[Point], earlier: Sequence[Verdict] = (), key: SeriesKey = KEY) -> Verdict:
    found = last(nights, earlier, key)
    assert isinstance(found, Verdict), found
    return found


def confirmed(of: Candidate, launches: Sequence[float]) -> Verdict:
    (found,) = evidence.conclude([(of, evidence.repeated(launches, of))], Rules())
    return found


# ------------------------------------------------------------------ by the nights


def test_steady_nights_say_nothing() -> None:
    found = verdict(points(noisy(100, 30)))
    assert (found.kind, found.reason) == (Kind.UNCHANGED, "no change over 30 nights")


@pytest.mark.parametrize("count", [1, 5])
def test_a_series_is_young_until_it_can_be_compared(count: int) -> None:
    found = verdict(points(noisy(100, count)))
    assert found.kind is Kind.YOUNG
    assert found.reason == f"{count} of the 6 nights that it takes to compare"


def test_a_step_is_a_candidate_within_three_nights() -> None:
    nights = points([*noisy(100, 30), *noisy(95, 3, seed=2)])
    found = candidate(nights)
    assert (found.first_bad, found.last_good) == (night(30), night(29))
    assert found.ratio
    assert found.ratio == pytest.approx(0.95, abs=0.02)
    assert found.old.n == 30
    assert found.suspect == "nothing that is recorded changed"


def test_a_lone_outlier_is_none_wherever_it_stands() -> None:
    for at in range(20, 30):
        values = noisy(100, 30)
        values[at] = 60.0
        assert verdict(points(values)).kind is Kind.UNCHANGED


def test_a_change_that_was_told_is_not_told_again_and_stays_open() -> None:
    values = [*noisy(100, 30), *noisy(95, 3, seed=2)]
    told = confirmed(candidate(points(values)), noisy(95, 10, seed=3))
    assert told.kind is Kind.REGRESSION
    for more in range(1, 12):
        nights = points([*values, *noisy(95, more, seed=4)])
        found = verdict(nights, [told])
        assert found.kind is Kind.UNCHANGED
        assert found.reason == f"regression of {night(30)}, told then"
        assert judge.open_regression([told, found]) == told


def test_a_second_step_is_another_candidate() -> None:
    values = [*noisy(100, 30), *noisy(95, 3, seed=2)]
    told = confirmed(candidate(points(values)), noisy(95, 10, seed=3))
    nights = points([*values, *noisy(95, 9, seed=4), *noisy(88, 3, seed=5)])
    found = last(nights, [told])
    assert isinstance(found, Candidate)
    assert found.first_bad == night(42)


def test_a_regression_is_over_when_the_series_is_back() -> None:
    values = [*noisy(100, 30), *noisy(90, 10, seed=2)]
    told = confirmed(candidate(points(values)), noisy(90, 10, seed=3))
    back = candidate_after(points([*values, *noisy(100, 3, seed=4)]), [told])
    better = confirmed(back, noisy(100, 10, seed=5))
    assert better.kind is Kind.IMPROVEMENT
    assert judge.open_regression([told, better]) is None


def candidate_after(nights: Sequence[Point], earlier: Sequence[Verdict]) -> Candidate:
    found = last(nights, earlier)
    assert isinstance(found, Candidate), found
    return found


def test_noise_is_looked_at_again_after_three_more_nights() -> None:
    values = [*noisy(100, 30), *noisy(95, 3, seed=2)]
    noise = confirmed(candidate(points(values)), noisy(100, 10, seed=3))
    assert noise.kind is Kind.NOISE
    seen = [isinstance(last(points([*values, *noisy(95, more, seed=4)]), [noise]), Candidate) for more in range(1, 5)]
    assert seen == [False, False, True, True]


def test_what_has_no_spread_alarms_on_a_step_and_not_on_the_last_digit() -> None:
    ppl = replace(KEY, metric="ppl", workload="quality 8×512")
    assert verdict(points([8.0] * 20 + [8.0 + 1e-9] * 5), key=ppl).kind is Kind.UNCHANGED
    found = candidate(points([8.0] * 20 + [8.3] * 3), key=ppl)
    (told,) = evidence.conclude([(found, evidence.repeated([8.3, 8.3], found))], Rules())
    assert (told.kind, told.confirmation and told.confirmation.p) == (Kind.REGRESSION, 0.0)


def test_a_level_of_zero_is_no_division() -> None:
    throttled = replace(KEY, metric="throttled")
    assert verdict(points([0.0] * 20), key=throttled).kind is Kind.UNCHANGED
    assert verdict(points([0.0] * 20 + [0.5] * 4), key=throttled).kind is Kind.UNCHANGED  # less than one per cent
    found = candidate(points([0.0] * 20 + [40.0] * 3), key=throttled)
    assert found.ratio is None
    (told,) = evidence.conclude([(found, evidence.repeated([40.0, 42.0, 41.0], found))], Rules())
    assert (told.kind, told.ratio) == (Kind.REGRESSION, None)


@pytest.mark.parametrize(("metric", "worse"), [("bench_tg", False), ("ttft", True), ("ppl", True), ("same_top", False)])
def test_more_is_better_or_worse_by_metric(metric: str, *, worse: bool) -> None:
    assert metrics.is_worse(metric, 1.0, 2.0) is worse
    assert metrics.is_worse(metric, 2.0, 1.0) is not worse


def test_every_metric_that_is_watched_is_known() -> None:
    assert {one for kind in metrics.MAIN.values() for one in kind} <= metrics.KNOWN


# ------------------------------------------------------------------ forks


def fork(change: dict[str, str], value: float = 90.0) -> Judged:
    return last([*points(noisy(100, 20)), *points([value], {**OLD, **change}, begin=20)])


def test_a_new_build_that_is_slower_is_a_candidate_the_same_night() -> None:
    found = fork(NEW)
    assert isinstance(found, Candidate)
    assert found.by_build
    assert found.suspect == "runtime llama-cpp-python 0.3.35 → 0.3.36"
    assert (found.first_bad, found.last_good) == (night(20), night(19))


def test_what_a_build_brings_with_it_is_not_told_beside_it() -> None:
    found = fork({**NEW, "versions": "ggml=2", "features": "AVX2 = 1"})
    assert isinstance(found, Candidate)
    assert found.by_build
    assert found.suspect == "runtime llama-cpp-python 0.3.35 → 0.3.36"
    assert set(found.changed) == {"build", "versions", "features"}


def test_a_new_build_that_is_as_fast_is_not_measured_again() -> None:
    found = fork(NEW, 100.5)
    assert isinstance(found, Verdict)
    assert found.kind is Kind.UNCHANGED
    assert found.reason == "runtime llama-cpp-python 0.3.35 → 0.3.36: its value stayed within 1.0 %"


@pytest.mark.parametrize("change", [{"os": "Debian 14"}, {"governor": "powersave"}, {**NEW, "os": "Debian 14"}])
def test_another_system_cannot_be_put_back(change: dict[str, str]) -> None:
    found = fork(change)
    assert isinstance(found, Candidate)
    assert not found.by_build
    (told,) = evidence.conclude([(found, Evidence(obstacle="it cannot be put back"))], Rules())
    assert told.kind is Kind.NOT_COMPARABLE
    assert not told.alerts


def test_a_fork_is_judged_once_and_the_series_is_young_then() -> None:
    found = fork({"os": "Debian 14"})
    assert isinstance(found, Candidate)
    (told,) = evidence.conclude([(found, Evidence(obstacle="it cannot be put back"))], Rules())
    nights = [*points(noisy(100, 20)), *points([90.0, 90.5], {**OLD, "os": "Debian 14"}, begin=20)]
    assert verdict(nights, [told]).kind is Kind.YOUNG


def test_a_fork_that_could_not_be_measured_again_is_tried_again() -> None:
    found = fork(NEW)
    assert isinstance(found, Candidate)
    (told,) = evidence.conclude([(found, Evidence(failure="desk was unplugged"))], Rules())
    assert told.kind is Kind.NO_DATA
    nights = [*points(noisy(100, 20)), *points([90.0, 90.5], NEW, begin=20)]
    assert isinstance(last(nights, [told]), Candidate)


def test_a_series_that_comes_back_goes_on_where_it_was() -> None:
    nights = [
        *points(noisy(100, 20)),
        *points([70.0], {**OLD, "governor": "powersave"}, begin=20),
        *points(noisy(100, 2, seed=3), begin=21),
    ]
    assert verdict(nights).kind is Kind.UNCHANGED


def test_interleaved_runs_decide_a_fork_and_give_its_levels() -> None:
    found = fork(NEW)
    assert isinstance(found, Candidate)
    seen = evidence.interleaved(noisy(100, 10, seed=6), noisy(90, 10, seed=7), found)
    (told,) = evidence.conclude([(found, seen)], Rules())
    assert told.kind is Kind.REGRESSION
    assert told.ratio == pytest.approx(0.9, abs=0.02)
    assert told.confirmation
    assert (told.confirmation.how, told.confirmation.n) == ("interleaved", 10)
    assert told.confirmation.low
    assert told.confirmation.low < 0.9 < (told.confirmation.high or 0) < 1
    assert told.old
    assert told.new
    assert (told.old.n, told.old.build, told.new.build) == (10, OLD["build"], NEW["build"])


def test_a_build_that_only_seemed_slower_is_unchanged() -> None:
    found = fork(NEW, 97.0)
    assert isinstance(found, Candidate)
    seen = evidence.interleaved(noisy(100, 10, seed=6), noisy(100, 10, seed=7), found)
    (told,) = evidence.conclude([(found, seen)], Rules())
    assert (told.kind, told.first_bad) == (Kind.UNCHANGED, night(20))


def test_figures_that_are_not_above_zero_are_compared_by_their_differences() -> None:
    kld = replace(KEY, metric="kld_mean", workload="quality 8×512")
    nights = [*points([-2e-6] * 20), *points([3e-3], NEW, begin=20)]
    found = candidate(nights, key=kld)
    (told,) = evidence.conclude([(found, evidence.interleaved([-2e-6, -2e-6], [3e-3, 3e-3], found))], Rules())
    assert (told.kind, told.ratio) == (Kind.REGRESSION, None)
    close = [*points([-2e-6] * 20), *points([3e-6], NEW, begin=20)]
    assert verdict(close, key=kld).kind is Kind.UNCHANGED


# ------------------------------------------------------------------ a night of many


def test_of_many_candidates_chance_confirms_few() -> None:
    dice = random.Random(5)
    found = candidate(points([*noisy(100, 30), *noisy(95, 3, seed=2)]))
    pairs = evidence.pairs_needed(200, 10)
    seen = [
        evidence.interleaved(
            [100 + dice.gauss(0, 1) for _ in range(pairs)], [100 + dice.gauss(0, 1) for _ in range(pairs)], found
        )
        for _ in range(200)
    ]
    told = evidence.conclude([(found, one) for one in seen], Rules())
    assert all(one.kind is Kind.NOISE for one in told)


@pytest.mark.parametrize(("candidates", "pairs"), [(0, 10), (1, 10), (75, 12), (1000, 16)])
def test_one_among_many_can_still_count(candidates: int, pairs: int) -> None:
    assert evidence.pairs_needed(candidates, 10) == pairs
    least = 2 / 2**pairs
    assert least <= evidence.RATE / max(1, candidates)


def test_what_is_significant_and_small_is_not_told() -> None:
    found = fork(NEW, 98.0)
    assert isinstance(found, Candidate)
    confirmation = Confirmation(how="interleaved", ratio=0.985, p=1e-6, n=10)
    small = Evidence(confirmation=confirmation, old=found.old, new=replace(found.new, value=0.985 * found.old.value))
    assert evidence.conclude([(found, small)], Rules())[0].kind is Kind.UNCHANGED
    assert evidence.conclude([(found, small)], Rules(alert=0.01))[0].kind is Kind.REGRESSION


def test_silence_says_since_when_and_why() -> None:
    nights = points(noisy(100, 10))
    first = judge.no_data(night(10), KEY, "desk is unhealthy", nights)
    second = judge.no_data(night(11), KEY, "desk is unhealthy", nights, [first])
    assert (second.kind, second.reason) == (Kind.NO_DATA, "desk is unhealthy")
    assert (second.first_bad, second.last_good) == (night(10), night(9))
    assert second.alerts


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.lists(st.sampled_from(["a", "b"]), min_size=40))
def test_whatever_the_nights_are_there_is_an_answer(values: list[float], systems: list[str]) -> None:
    nights = [replace(one, attributes={"os": systems[at]}) for at, one in enumerate(points(values))]
    found = last(nights)
    if isinstance(found, Candidate):
        assert found.after[-1].night == nights[-1].night
        assert found.last_good < found.first_bad
        seen = evidence.repeated([found.new.value, found.new.value], found)
        (told,) = evidence.conclude([(found, seen)], Rules())
        assert told.kind in (Kind.REGRESSION, Kind.IMPROVEMENT, Kind.NOISE, Kind.UNCHANGED)
