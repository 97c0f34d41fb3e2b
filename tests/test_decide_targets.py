"""Targets of a profile: pass, miss, or not measured; never a guess."""

from __future__ import annotations

import pytest

from quantfarm.candidates import Candidate
from quantfarm.decide import Verdict, check
from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile, parameters
from quantfarm.statistics.summary import summarise


def candidate(variant: str, device: str = "phone", **figures: float) -> Candidate:
    return Candidate(
        device=device, model="m", variant=variant, runtime="r", build="1",
        figures={metric: summarise([value]) for metric, value in figures.items()},
    )  # fmt: skip


GROUP = [
    candidate("Q4_K_M", decode_tps=12.0, ttft=0.6),
    candidate("Q2_K", decode_tps=15.0),
    candidate("Q4_K_M", "other", ttft=0.1),
]


def verdict(**targets: float | str) -> tuple[Verdict, float | None, str]:
    named = {name.replace("__", ":"): goal for name, goal in targets.items()}
    (found,) = check(DeviceProfile(name="phone", targets=parameters(named)), GROUP)
    return found.verdict, found.value, found.variant


def test_a_rate_must_be_at_least_its_goal() -> None:
    assert verdict(decode_tps__Q4_K_M=12) == (Verdict.PASS, 12.0, "Q4_K_M")
    assert verdict(decode_tps__Q4_K_M=12.1) == (Verdict.MISS, 12.0, "Q4_K_M")


def test_a_time_must_be_at_most_its_goal_and_other_devices_do_not_count() -> None:
    assert verdict(ttft__Q4_K_M=0.6)[0] is Verdict.PASS
    assert verdict(ttft__Q4_K_M=0.5) == (Verdict.MISS, 0.6, "Q4_K_M")


def test_a_target_that_names_no_variant_is_met_by_the_best() -> None:
    assert verdict(decode_tps=14) == (Verdict.PASS, 15.0, "Q2_K")


def test_what_was_not_measured_is_neither_passed_nor_missed() -> None:
    assert verdict(ttft__Q2_K=1) == (Verdict.NOT_MEASURED, None, "Q2_K")


def test_a_goal_may_carry_its_own_sign() -> None:
    assert verdict(decode_tps__Q4_K_M="<= 10")[0] is Verdict.MISS
    assert verdict(decode_tps__Q4_K_M="≥ 10")[0] is Verdict.PASS


def test_a_goal_that_is_no_number_is_one_clear_message() -> None:
    with pytest.raises(UsageError, match=r"target 'ttft' of device 'phone': 'fast' is no goal: give a number"):
        verdict(ttft="fast")
