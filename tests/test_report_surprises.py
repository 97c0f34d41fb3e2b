"""What is not as names and sizes lead one to expect is told, and only beyond the noise."""

from __future__ import annotations

import dataclasses
from typing import Any

from quantfarm.candidates import Candidate
from quantfarm.report.surprises import surprises
from quantfarm.statistics.summary import Summary
from tests.report_examples import lab, seven


def changed(candidates: list[Candidate], variant: str, **figures: tuple[float, float, float]) -> list[Candidate]:
    """One variant's figures as (low, value, high)."""
    given = {m: Summary(value=v, mad=0, n=6, low=low, high=high) for m, (low, v, high) in figures.items()}
    return [
        dataclasses.replace(c, figures={**c.figures, **given}) if c.variant == variant else c for c in candidates
    ]  # fmt: skip


def told(candidates: list[Candidate], words: str) -> list[str]:
    return [one for one in surprises(candidates) if words in one]


def plain(**other: Any) -> list[Candidate]:
    """Seven variants that behave: the smaller the faster, the smaller in memory, the worse."""
    return seven(**other)


def test_what_behaves_as_expected_surprises_nobody() -> None:
    for words in ("decodes slower", "needs more memory", "better perplexity", "lower perplexity"):
        assert told(plain(), words) == []


def test_a_smaller_variant_that_decodes_slower_is_told_against_the_nearest_larger_one() -> None:
    found = told(changed(plain(), "Q6_K", decode_tps=(895, 900, 905)), "decodes slower")
    assert found == [
        "Q6_K has fewer bits per weight than Q8_0 (6.60 against 8.55) and decodes slower: 900 (895–905) against "
        "1006 (995–1011) tok/s."
    ]


def test_speeds_whose_intervals_overlap_are_no_surprise() -> None:
    assert told(changed(plain(), "Q6_K", decode_tps=(800, 900, 1200)), "decodes slower") == []
    assert told(plain(launches=3), "decodes slower") == []  # no interval at all


def test_a_smaller_file_that_needs_more_memory_is_told() -> None:
    (found,) = told(changed(plain(), "Q4_K_M", resident_peak=(80, 80.5, 81)), "needs more memory")
    assert found.startswith("Q4_K_M needs more memory than Q5_K_M although its file is smaller: 80.50 against 69.3")


def test_fewer_bits_with_the_better_perplexity_are_told_chunk_by_chunk() -> None:
    group = plain()
    q5, q4 = (next(c for c in group if c.variant == name) for name in ("Q5_K_M", "Q4_K_M"))
    swapped = dataclasses.replace(q4, chunk_nll=tuple(n - 0.02 * 255 for n in q5.chunk_nll), figures=q4.figures)
    (found,) = told([swapped if c is q4 else c for c in group], "better perplexity")
    assert (
        "Q4_K_M has fewer bits per weight than Q5_K_M (4.95 against 5.75)" in found
        and "-2.0 % (-2.0 % to -2.0 %)" in found
    )


def test_a_quantization_better_than_the_original_is_told_with_what_it_is_not() -> None:
    group = plain()
    base = group[0]
    better = dataclasses.replace(group[1], chunk_nll=tuple(n - 0.01 * 255 for n in base.chunk_nll))
    (found,) = told([better if c.variant == "Q8_0" else c for c in group], "lower perplexity")
    assert (
        found.startswith("Q8_0 has a lower perplexity than F16")
        and "no sign that quantizing makes a model better" in found
    )


def test_bits_that_the_name_does_not_say_are_told() -> None:
    (found,) = told(plain(), "Names say less")
    assert "Q4_K_M is 4.95" in found and "Q8_0" not in found


def test_memory_that_does_not_follow_the_file_is_told_of_each_runtime() -> None:
    (found,) = told(plain(), "mostly not the weights")
    assert "Q2_K is a file of 2.77 MiB and needs 66.41 MiB resident" in found and "differs by 16 % only" in found
    assert told(lab(), "mostly not the weights") == []  # there it follows


def test_accuracy_that_tells_less_than_perplexity_is_told() -> None:
    (found,) = told(lab(), "accuracy on reference_cloze")
    assert "Perplexity tells 14 variants from the unquantized model beyond noise" in found
    assert not told(lab(), "arc_easy")  # a part of its documents


def test_nothing_measured_surprises_nobody() -> None:
    assert (
        surprises([]) == []
        and surprises([dataclasses.replace(c, figures={}, bits_per_weight=0) for c in plain()]) == []
    )
