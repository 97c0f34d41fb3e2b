"""What is recommended, and what is said when nothing can be."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from quantfarm.candidates import Candidate
from quantfarm.decide import Recommendation, recommend
from quantfarm.statistics.summary import summarise


def candidate(
    name: str, speed: float, memory: float, ppl: float | None, launches: int = 6, **other: object
) -> Candidate:
    """Launches spread by ±0.2 % around the speed; perplexity exact."""
    spread = tuple(speed * (1 + 0.002 * (i - (launches - 1) / 2) / launches) for i in range(launches))
    figures = {"decode_tps": summarise(spread), "resident_peak": summarise([memory] * launches)}
    given = {
        "device": "here",
        "model": "m",
        "variant": name,
        "runtime": "r",
        "build": "1",
        "text_sha256": "ab" * 32,
        "figures": figures | ({"ppl": summarise([ppl])} if ppl is not None else {}),
        "launches": {"decode_tps": spread, "resident_peak": (memory,) * launches},
        "reproduce": f"quantfarm sweep --quants {name}",
    }
    return Candidate(**(given | other))  # pyright: ignore[reportArgumentType]


def seven(**other: object) -> list[Candidate]:
    rows: Sequence[tuple[str, float, float, float]] = [
        ("F16", 700, 80.0, 12.00),
        ("Q8_0", 1000, 70.0, 12.01),
        ("Q6_K", 1100, 67.0, 12.03),
        ("Q5_K_M", 1150, 65.5, 12.07),
        ("Q4_K_M", 1300, 64.0, 12.20),
        ("Q3_K_M", 1400, 62.0, 12.80),
        ("Q2_K", 1500, 60.0, 14.50),
    ]
    return [candidate(*row, **other) for row in rows]


def chosen(found: Recommendation) -> str:
    assert found.chosen is not None
    return found.chosen.variant


def test_the_fastest_of_the_frontier_with_the_quality_asked_for_is_chosen() -> None:
    assert chosen(recommend(seven())) == "Q4_K_M"  # Q3_K_M's quality is 0.938
    assert chosen(recommend(seven(), min_quality=0.9)) == "Q3_K_M"
    assert chosen(recommend(seven(), min_quality=0)) == "Q2_K"


def test_the_reason_is_plain_and_carries_its_numbers() -> None:
    found = recommend(seven())
    assert found.reason == (
        "Q4_K_M is the fastest to decode on the Pareto frontier with quality of at least 0.95: "
        "1300 tok/s (1299–1301, 6 launches) in 64.0 MiB, its perplexity +1.7 % against the unquantized model. "
        "The probability that nothing measured dominates it is 1.00."
    )
    assert found.quality == pytest.approx(12.0 / 12.2) and found.certain
    assert found.reproduce == "quantfarm sweep --quants Q4_K_M"


def test_the_runner_up_is_named_with_why_it_is_not_the_one() -> None:
    found = recommend(seven())
    assert found.runner_up is not None and found.runner_up.variant == "Q5_K_M"
    assert found.why_not_runner_up == (
        "Q4_K_M decodes 13 % faster; its perplexity is +0.6 % against the unquantized model."
    )


def test_what_was_excluded_is_listed_with_the_reason() -> None:
    beaten = candidate("Q4_0", 1250, 64.0, 12.6)
    unmeasured = candidate("IQ4_XS", 1250, 64.0, None, failures=("quality: load: out of memory",))
    why = {c.variant: reason for c, reason in recommend([*seven(), beaten, unmeasured]).excluded}
    assert why == {
        "Q3_K_M": "quality 0.938 is below 0.95",
        "Q2_K": "quality 0.828 is below 0.95",
        "Q4_0": "dominated by Q4_K_M (non-dominated in 0.00 of draws)",
        "IQ4_XS": "no perplexity (quality: load: out of memory)",
    }


def test_memory_allowed_limits_the_choice() -> None:
    assert chosen(recommend(seven(), max_ram_mib=62.5, min_quality=0.9)) == "Q3_K_M"


def test_within_the_margin_of_speed_less_memory_wins_and_then_better_quality() -> None:
    group = [candidate("F16", 700, 80, 12.0), candidate("big", 1010, 70, 12.1), candidate("small", 1000, 60, 12.2)]
    assert chosen(recommend(group)) == "small"
    tied = [candidate("F16", 700, 80, 12.0), candidate("worse", 1010, 60.2, 12.3), candidate("good", 1000, 60, 12.1)]
    assert chosen(recommend(tied)) == "good"


def test_when_nothing_satisfies_nothing_is_chosen_and_the_sentence_says_what_would() -> None:
    found = recommend(seven(), max_ram_mib=61)
    assert found.chosen is None and found.reproduce == ""
    assert found.reason == (
        "Nothing measured satisfies the wishes: memory of at most 61.0 MiB removes 6 of 7 and "
        "quality of at least 0.95 removes 2 of 7. It would take 64.0 MiB (Q4_K_M) or a minimum quality of 0.827 (Q2_K)."
    )
    assert len(found.excluded) == 7
    asked = recommend(seven(), max_ram_mib=61, min_quality=0.827)
    assert chosen(asked) == "Q2_K"  # what it said would satisfy does


def test_a_memory_limit_below_everything_names_the_least_that_is_needed() -> None:
    found = recommend(seven(), max_ram_mib=1, min_quality=0)
    assert "removes all of 7" in found.reason and "It would take 60.0 MiB (Q2_K)." in found.reason


def test_without_the_unquantized_model_quality_cannot_be_judged_and_nothing_is_chosen() -> None:
    found = recommend(seven()[1:])
    assert found.chosen is None and "without the unquantized model's perplexity" in found.reason
    assert chosen(recommend(seven()[1:], min_quality=0)) == "Q2_K"


def test_a_base_that_was_never_timed_still_judges_quality() -> None:
    untimed = dataclasses.replace(
        seven()[0], figures={"ppl": summarise([12.0])}, launches={}, failures=("bench: run: killed",)
    )
    found = recommend([untimed, *seven()[1:]])
    assert chosen(found) == "Q4_K_M"
    assert (untimed.variant, "no decode speed and no peak memory (bench: run: killed)") in [
        (c.variant, why) for c, why in found.excluded
    ]


def test_one_that_only_loses_to_something_not_allowed_can_still_be_chosen() -> None:
    group = [
        candidate("F16", 700, 80, 12.0),
        candidate("over", 1500, 60.4, 12.1),
        candidate("under", 1000, 60.0, 12.1),  # dominated by "over", which needs 0.4 MiB more
    ]
    assert chosen(recommend(group)) == "over"
    assert chosen(recommend(group, max_ram_mib=60.2)) == "under"


def test_a_simulated_device_is_never_recommended_from_without_saying_so() -> None:
    assert recommend(seven(simulated=True)).reason.startswith("Simulated device, not a measurement: ")


def test_few_launches_and_remarks_on_figures_are_passed_on() -> None:
    few = [candidate(c.variant, c.value("decode_tps") or 0, c.value("resident_peak") or 0, c.value("ppl"), launches=2)
           for c in seven()]  # fmt: skip
    few[4] = dataclasses.replace(few[4], remarks={"decode_tps": "spread 23 % over 5 repetitions"})
    found = recommend(few)
    assert found.remarks == (
        "2 launches: the spread between launches is not known",
        "decode speed: spread 23 % over 5 repetitions",
    )
    assert not found.certain and "(2 launches, no interval)" in found.reason


def test_no_candidates_at_all_is_said() -> None:
    assert recommend([]).reason.startswith("Nothing can be recommended: no candidate has")


def test_who_asks_for_speed_gets_it_or_hears_what_it_would_take() -> None:
    fast = recommend(seven(), min_speed=1200)
    assert chosen(fast) == "Q4_K_M" and "at least 1200 tok/s and quality of at least 0.95" in fast.reason
    assert ("Q8_0", "decodes 1000 tok/s, 1200 asked for") in [(c.variant, why) for c, why in fast.excluded]
    none = recommend(seven(), min_speed=1350)
    assert none.chosen is None
    assert none.reason == (
        "Nothing measured satisfies the wishes: speed of at least 1350 tok/s removes 5 of 7 and quality of at least "
        "0.95 removes 2 of 7. It would take 1300 tok/s (Q4_K_M) or a minimum quality of 0.937 (Q3_K_M)."
    )
