"""Targets of a profile: pass, miss, or not measured; never a guess."""

from __future__ import annotations

import dataclasses

import pytest

from quantfarm.candidates import Candidate
from quantfarm.decide import Verdict, check
from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile, parameters
from quantfarm.statistics.summary import summarise
from tests.report_examples import lab


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


# --- goals for models of one size


def of_size(billions: float) -> tuple[Verdict, float | None, str]:
    """A goal for 3B against a model of so many weights at 5 bits each, which meets it by far."""
    one = dataclasses.replace(
        candidate("Q4_K_M", decode_tps=99.0), bits_per_weight=5.0, size=int(billions * 1e9 * 5 / 8)
    )
    profile = DeviceProfile(name="phone", targets=parameters({"decode_tps:Q4_K_M": ">= 35 for 3B"}))
    (found,) = check(profile, [one])
    assert (found.size, found.goal) == (3.0, 35.0)
    return found.verdict, found.value, found.model


def test_a_goal_for_models_of_one_size_is_met_by_those_alone() -> None:
    assert of_size(3.1) == (Verdict.PASS, 99.0, "m")
    assert of_size(3.9)[0] is Verdict.PASS
    for other in (0.006, 1.5, 4.1, 8.0):
        assert of_size(other) == (Verdict.NOT_MEASURED, None, "")


def test_a_model_of_unknown_size_meets_no_goal_for_a_size() -> None:
    profile = DeviceProfile(name="phone", targets=parameters({"decode_tps:Q4_K_M": ">= 1 for 3B"}))
    assert check(profile, GROUP)[0].verdict is Verdict.NOT_MEASURED


# --- goals against the unquantized model


def of_lab(target: str, goal: str) -> tuple[Verdict, float | None]:
    profile = DeviceProfile(name="bench-box", targets=parameters({target: goal}))
    (found,) = check(profile, lab())
    return found.verdict, found.value


def test_perplexity_over_the_unquantized_is_paired_chunk_by_chunk() -> None:
    verdict, value = of_lab("ppl_increase:Q3_K_M", "<= 0.05")
    assert verdict is Verdict.MISS and value == pytest.approx(0.068, abs=0.005)
    assert of_lab("ppl_increase:Q4_K_M", "<= 0.05")[0] is Verdict.PASS


def test_accuracy_lost_is_in_points_of_the_same_documents_and_a_part_of_a_benchmark_is_not_it() -> None:
    verdict, value = of_lab("drop_reference_cloze:IQ2_XS+imatrix", "<= 1.5")
    assert verdict is Verdict.MISS and value == pytest.approx(14, abs=4)
    assert of_lab("drop_arc_easy:Q4_K_M", "<= 99")[0] is Verdict.NOT_MEASURED  # 100 of its documents


def test_the_unquantized_models_perplexity_is_needed_to_compare_with_it() -> None:
    profile = DeviceProfile(name="phone", targets=parameters({"ppl_increase": 1, "drop_mmlu": 1}))
    assert {one.verdict for one in check(profile, [candidate("Q4_K_M", ppl=9.0)])} == {Verdict.NOT_MEASURED}
