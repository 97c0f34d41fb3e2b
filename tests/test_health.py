"""A device's state: who may change it, and that no bad device is ever given work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quantfarm import health
from quantfarm.health import By, Canary, DeviceState, NotAllowed, Transition

S = DeviceState
BAD = {S.UNHEALTHY, S.QUARANTINED, S.RETIRED}


def canary(clean: bool = True, spell: int = 0, series: str = "a", **figures: float) -> Canary:
    return Canary(
        device="d",
        at="",
        series=series,
        runtime="r",
        build="b",
        clean=clean,
        spell=spell,
        figures=figures,
        conditions={},
    )


def rows(*states: DeviceState, by: By = By.FARM, failures: int = 0) -> list[Transition]:
    """A history that went through these states, however it may have."""
    pairs = zip((None, *states), states, strict=False)
    found = [Transition(device="d", before=b, to=t, reason="so", by=By.FARM, at="") for b, t in pairs]
    return [*found[:-1], replace(found[-1], by=by, failures=failures)]


class Life(RuleBasedStateMachine):
    """Everything that anybody may try, in any order; what the rules refuse does not happen."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Transition] = []
        self.canaries: list[Canary] = []
        self.bad = True  # by an account of its own: until a check or a person says otherwise
        self.clean = 0

    def move(self, to: DeviceState, by: By, failed: bool = False, reason: str = "because") -> None:
        before = self.rows[-1].to if self.rows else None
        try:
            row = health.transition("d", self.rows, to, reason, by, "", canaries=self.canaries, failed=failed)
        except NotAllowed:
            return
        if to in BAD:
            self.bad = True
        elif to is S.REGISTERED and by is By.PERSON:
            self.bad = False  # a person looked: one clean canary is enough
        elif to is S.READY and before is S.CHECKING and self.clean >= 3:
            self.bad = False
        if to is S.REGISTERED and before in (None, S.RETIRED):
            self.bad = False
        self.clean = 0
        self.rows.append(row)

    @rule(to=st.sampled_from(S), by=st.sampled_from(By), failed=st.booleans(), reason=st.sampled_from(["", "why"]))
    def anybody_tries(self, to: DeviceState, by: By, failed: bool, reason: str) -> None:
        self.move(to, by, failed, reason)

    @rule(clean=st.booleans())
    def a_canary_runs(self, clean: bool) -> None:
        self.canaries.append(canary(clean, spell=len(self.rows)))
        self.clean = self.clean + 1 if clean else 0

    @rule()
    def it_cannot_be_reached(self) -> None:
        self.move(health.after_failure(self.rows), By.FARM, failed=True)

    @rule(clean=st.integers(0, 4))
    def it_is_checked(self, clean: int) -> None:
        self.move(S.CHECKING, By.FARM)
        for _ in range(clean):
            self.a_canary_runs(True)
        self.move(S.READY, By.FARM)

    @invariant()
    def no_bad_device_is_given_work(self) -> None:
        if self.rows and health.schedulable(self.rows[-1].to):
            assert not self.bad
            assert not health.held(self.rows)

    @invariant()
    def every_change_has_a_reason_and_follows_the_one_before(self) -> None:
        assert all(row.reason for row in self.rows)
        assert [row.before for row in self.rows[1:]] == [row.to for row in self.rows[:-1]]

    @invariant()
    def three_failures_in_a_row_are_quarantine(self) -> None:
        for row in self.rows:
            assert row.failures < health.FAILURES or row.to is not S.UNHEALTHY


Life.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
test_whatever_is_tried_in_whatever_order = Life.TestCase


def test_a_device_that_was_never_registered_can_be_measured() -> None:
    assert health.schedulable(None)


@pytest.mark.parametrize("state", S)
def test_work_goes_to_devices_that_are_ready_or_busy_and_to_no_others(state: DeviceState) -> None:
    assert health.schedulable(state) == (state in (S.READY, S.BUSY))


def test_the_third_failure_in_a_row_is_quarantine_and_a_good_run_between_starts_the_count_anew() -> None:
    history: list[Transition] = []

    def go(to: DeviceState, failed: bool = False, clean: int = 0) -> None:
        ran = [canary(spell=len(history)) for _ in range(clean)]
        history.append(health.transition("d", history, to, "so", By.FARM, "", canaries=ran, failed=failed))

    def fail() -> DeviceState:
        go(S.CHECKING)
        to = health.after_failure(history)
        go(to, failed=True)
        return to

    go(S.REGISTERED)
    assert fail() is S.UNHEALTHY
    assert fail() is S.UNHEALTHY
    go(S.CHECKING)
    go(S.READY, clean=3)
    assert [fail(), fail(), fail()] == [S.UNHEALTHY, S.UNHEALTHY, S.QUARANTINED]
    assert fail() is S.QUARANTINED


@pytest.mark.parametrize(("clean", "said"), [(0, "0 of 3"), (2, "2 of 3")])
@pytest.mark.parametrize("bad", [S.UNHEALTHY, S.QUARANTINED])
def test_fewer_than_three_clean_canaries_do_not_readmit(bad: DeviceState, clean: int, said: str) -> None:
    before = rows(S.REGISTERED, S.CHECKING, bad, S.CHECKING)
    ran = [canary(spell=4) for _ in range(clean)]
    assert said in health.obstacle(before, S.READY, By.FARM, ran)
    assert health.obstacle(before, S.READY, By.FARM, [*ran, *[canary(spell=4)] * 3]) == ""


def test_clean_canaries_of_an_earlier_check_or_before_a_bad_one_do_not_count() -> None:
    before = rows(S.REGISTERED, S.CHECKING, S.UNHEALTHY, S.CHECKING)
    earlier = [canary(spell=2), canary(spell=2), canary(spell=4)]
    assert "1 of 3" in health.obstacle(before, S.READY, By.FARM, earlier)
    broken = [canary(spell=4), canary(spell=4), canary(False, spell=4), canary(spell=4)]
    assert "1 of 3" in health.obstacle(before, S.READY, By.FARM, broken)


def test_what_a_person_quarantined_only_a_release_brings_back() -> None:
    before = rows(S.REGISTERED, S.CHECKING, S.READY, S.QUARANTINED, by=By.PERSON)
    for by in By:
        assert "quarantined by a person (so)" in health.obstacle(before, S.CHECKING, by)
    assert health.obstacle(before, S.REGISTERED, By.FARM)
    assert health.obstacle(before, S.REGISTERED, By.PERSON) == ""
    farm_did = rows(S.REGISTERED, S.CHECKING, S.QUARANTINED)
    assert health.obstacle(farm_did, S.CHECKING, By.FARM) == ""


def test_a_refused_change_says_what_may_be_instead() -> None:
    with pytest.raises(NotAllowed, match="d cannot become busy: it is unhealthy: from there it can become checking"):
        health.transition("d", rows(S.REGISTERED, S.UNHEALTHY), S.BUSY, "work", By.FARM, "")


def test_a_reason_is_one_printable_line_whatever_the_device_said() -> None:
    row = health.transition("d", [], S.REGISTERED, "a\x1b[31m\nb\x00" + "c" * 9999, By.FARM, "")
    assert row.reason.startswith("a [31m b c")
    assert len(row.reason) == 500


def series(values: Sequence[float], name: str = "bench_tg", key: str = "a") -> list[Canary]:
    return [canary(series=key, **{name: value}) for value in values]


STEADY = [100.0, 101.0, 99.0, 100.5, 99.5]


@pytest.mark.parametrize(
    ("before", "now", "drifted"),
    [
        (STEADY, 91.0, False),  # within 10 %
        (STEADY, 89.0, True),
        (STEADY, 200.0, False),  # faster is no harm
        (STEADY[:4], 10.0, False),  # too little is known
        ([100.0, 120.0, 80.0, 110.0, 90.0], 62.0, False),  # MAD 10: 4 · 14.826 = 59 %
        ([100.0, 120.0, 80.0, 110.0, 90.0], 40.0, True),
        ([1.0] * 30 + [100.0] * 20, 89.0, True),  # the last twenty count
    ],
)
def test_slower_than_its_own_history_is_drift(before: list[float], now: float, drifted: bool) -> None:
    said = health.drift({"bench_tg": now}, health.history(series(before), "a"))
    assert bool(said) == drifted, said


def test_drift_says_by_how_much() -> None:
    said = health.drift({"bench_tg": 80.0}, series(STEADY))
    assert said == ("bench_tg is 20 % slower than its own 100 tok/s, more than 10 % (the median of 5 clean canaries)")


@pytest.mark.parametrize(("now", "drifted"), [(10.0099, False), (10.011, True), (9.989, True)])
def test_another_perplexity_is_drift_in_either_direction(now: float, drifted: bool) -> None:
    assert bool(health.drift({"ppl": now}, series([10.0] * 5, "ppl"))) == drifted


def test_history_is_of_the_same_series_and_of_clean_canaries_alone() -> None:
    mixed = [*series(STEADY, key="old driver"), *[replace(c, clean=False) for c in series(STEADY)]]
    assert health.history(mixed, "a") == []
    assert health.drift({"bench_tg": 1.0}, health.history(mixed, "a")) == ""
