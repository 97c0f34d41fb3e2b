"""Two candidates side by side: pairs where there are any, verdicts beyond a margin, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from quantfarm.candidates import Candidate
from quantfarm.decide.versus import Compared, Comparison, Judged, Taken, compare, in_turns
from quantfarm.statistics.paired import Answers
from quantfarm.statistics.summary import Summary, summarise

TOKENS = 255


def candidate(variant: str, **other: object) -> Candidate:
    given = {"device": "here", "model": "m", "variant": variant, "runtime": "r", "build": "1", "text_sha256": "ab" * 32}
    return Candidate(**(given | other))  # pyright: ignore[reportArgumentType]


def fast(variant: str, values: Sequence[float], metric: str = "decode_tps", **other: object) -> Candidate:
    figures = {metric: summarise(values)}
    return candidate(variant, figures=figures, launches={metric: tuple(values)}, units={metric: "tok/s"}, **other)


def chunked(variant: str, nll: Sequence[float], **other: object) -> Candidate:
    ppl = summarise([float(np.exp(np.mean(nll)))])
    totals = tuple(n * TOKENS for n in nll)
    return candidate(variant, figures={"ppl": ppl}, chunk_nll=totals, chunk_tokens=(TOKENS,) * len(nll), **other)


def the(found: Comparison, metric: str) -> Compared:
    return next(one for one in found.compared if one.metric == metric)


AROUND = [0.995, 0.998, 1.0, 1.001, 1.003, 1.006]


def speeds(middle: float) -> list[float]:
    return [middle * one for one in AROUND]


def test_faster_beyond_the_margin_is_better_and_slower_is_worse() -> None:
    slow, quick = fast("slow", speeds(100)), fast("quick", speeds(110))
    one = the(compare(slow, quick), "decode_tps")
    assert one.judged is Judged.BETTER and one.change == pytest.approx(0.1, abs=0.01)
    assert one.low is not None and one.low > 0.08 and one.how == "launches, unpaired: 6 and 6"
    assert the(compare(quick, slow), "decode_tps").judged is Judged.WORSE


def test_less_is_better_where_it_is() -> None:
    small, large = fast("s", speeds(100), "resident_peak"), fast("l", speeds(150), "resident_peak")
    assert the(compare(large, small), "resident_peak").judged is Judged.BETTER


def test_within_the_margin_both_are_alike() -> None:
    assert the(compare(fast("a", speeds(100)), fast("b", speeds(100.3))), "decode_tps").judged is Judged.ALIKE


def test_a_clear_difference_that_is_too_small_to_matter_is_no_verdict() -> None:
    a = fast("a", [100.0, 100.01, 100.02, 100.03])
    one = the(compare(a, fast("b", [101.9, 102.02, 101.95, 101.9])), "decode_tps")
    assert one.judged is Judged.UNDECIDED and one.why == "a difference, but within the margin of 2 %"


def test_too_few_launches_are_undecided_and_say_so() -> None:
    one = the(compare(fast("a", [100.0] * 3), fast("b", [200.0] * 3)), "decode_tps")
    assert one.judged is Judged.UNDECIDED and one.low is None
    assert one.why == "no 95 % interval (launches, unpaired: 3 and 3)"


def test_launches_in_turns_are_paired_so_that_drift_cancels() -> None:
    drift = [100.0, 90.0, 80.0, 70.0, 60.0, 50.0, 40.0]
    a, b = fast("a", drift), fast("b", [v * 1.05 for v in drift])
    at_a = [Taken(2 * i, v) for i, v in enumerate(drift)]
    at_b = [Taken(2 * i + (1 if i % 2 else 0.5), 1.05 * v) for i, v in enumerate(drift)]
    paired = the(compare(a, b, {"decode_tps": at_a}, {"decode_tps": at_b}), "decode_tps")
    assert paired.judged is Judged.BETTER and paired.how == "7 pairs of launches in turns" and paired.p is not None
    assert the(compare(a, b), "decode_tps").judged is Judged.UNDECIDED


def test_launches_that_were_not_in_turns_are_no_pairs() -> None:
    first, then = [Taken(i, 1.0) for i in range(6)], [Taken(6 + i, 1.0) for i in range(6)]
    assert in_turns(first, then) == []
    assert in_turns(first[:5], then[:5]) == [] and in_turns(first, then[:5]) == []


def test_perplexity_is_paired_by_chunk() -> None:
    text = np.random.default_rng(0).normal(3, 0.8, 40)  # chunks differ far more than the two variants do
    worse = text + 0.02 + np.random.default_rng(1).normal(0, 0.002, 40)
    one = the(compare(chunked("a", list(text)), chunked("b", list(worse))), "ppl")
    assert one.judged is Judged.WORSE and one.how == "paired by 40 chunks"
    assert one.change == pytest.approx(0.0202, abs=0.001)


def test_accuracy_is_paired_by_document_with_mcnemars_p() -> None:
    def answering(name: str, right: list[bool]) -> Candidate:
        items = {"acc_arc": Answers(right={str(i): one for i, one in enumerate(right)}, groups={})}
        share = 100 * sum(right) / len(right)
        figures = {"acc_arc": Summary(value=share, mad=0.0, n=len(right), low=share - 5, high=share + 5)}
        return candidate(name, figures=figures, items=items, units={"acc_arc": "%"})

    base = [i % 2 == 0 for i in range(200)]
    lost = [one and i > 40 for i, one in enumerate(base)]
    one = the(compare(answering("a", base), answering("b", lost)), "acc_arc")
    assert one.judged is Judged.WORSE and not one.relative
    assert one.change == pytest.approx(-10.5) and one.p is not None and one.p < 0.001


def test_divergences_are_compared_as_differences_by_their_intervals() -> None:
    def diverging(name: str, value: float) -> Candidate:
        return candidate(
            name, figures={"kld_mean": Summary(value=value, mad=0, n=900, low=value - 0.01, high=value + 0.01)}
        )

    one = the(compare(diverging("F16", 0.0), diverging("Q2", 0.3)), "kld_mean")
    assert one.judged is Judged.WORSE and not one.relative and one.change == pytest.approx(0.3)


def test_the_same_measurement_is_alike() -> None:
    text = [2.0, 3.0, 2.5]
    assert the(compare(chunked("a", text), chunked("a", text, device="there")), "ppl").judged is Judged.ALIKE


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"model": "n"}, "they are of different models: m and n"),
        ({"simulated": True, "device": "fake"}, "fake is simulated and the other is not"),
    ],
)
def test_what_cannot_be_compared_at_all_is_refused(other: dict[str, object], why: str) -> None:
    found = compare(fast("a", speeds(100)), fast("b", speeds(110), **other))
    assert found.refused.startswith(why) and not found.compared


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        (
            {"workloads": {"decode_tps": "app p128"}},
            {"workloads": {"decode_tps": "app p512"}},
            "other parameters: app p128 against app p512",
        ),
        ({"remarks": {"decode_tps": "hot start"}}, {}, "only a began warmer than at rest (hot start)"),
        ({}, {"conditions": {"on_mains": False}}, "in other power modes: power mode unknown against on battery"),
    ],
)
def test_a_metric_taken_otherwise_is_refused_with_the_reason(
    a: dict[str, object], b: dict[str, object], why: str
) -> None:
    found = compare(fast("a", speeds(100), **a), fast("b", speeds(110), **b))
    assert dict(found.refusals) == {"decode_tps": why} and not found.compared


def test_one_that_heat_held_back_is_not_compared_with_one_that_it_did_not() -> None:
    a, b = fast("a", speeds(100)), fast("b", speeds(90))
    b = replace(b, figures={**b.figures, "throttled": summarise([40.0])})
    assert compare(a, b).refusals["decode_tps"] == "only b was held back by heat (throttled)"


def test_perplexities_of_other_texts_or_chunks_are_refused() -> None:
    text = [2.0, 3.0, 2.5]
    a = chunked("a", text)
    assert compare(a, chunked("b", text, text_sha256="cd" * 32)).refusals["ppl"].startswith("of another text")
    assert compare(a, chunked("b", text[:2])).refusals["ppl"] == "of other chunks of the text: 3 against 2"


def test_what_one_of_them_lacks_is_said_with_its_failure() -> None:
    b = candidate("b", failures=("app: load: out of memory",))
    assert compare(fast("a", speeds(100)), b).refusals == {"decode_tps": "not measured of b (app: load: out of memory)"}
