"""What the Pareto frontier promises: margins, probabilities, and independence from who else is looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantfarm.candidates import Candidate
from quantfarm.statistics.dominance import MEMORY_MARGIN, SPEED_MARGIN, beats, kernel, scale
from quantfarm.statistics.frontier import Frontier, pareto
from quantfarm.statistics.paired import Answers
from quantfarm.statistics.summary import Summary, summarise

TOKENS = 255


def candidate(
    name: str,
    speed: Sequence[float] | float,
    memory: float = 100.0,
    ppl: float = 12.0,
    chunks: Sequence[float] = (),
    **other: object,
) -> Candidate:
    """One with figures; `chunks` are mean nll by chunk (then the perplexity is theirs)."""
    launches = tuple(speed) if isinstance(speed, Sequence) else (speed,)
    nll = tuple(c * TOKENS for c in chunks)
    ppl = float(np.exp(np.mean(chunks))) if chunks else ppl
    given = {
        "device": "here",
        "model": "m",
        "variant": name,
        "runtime": "r",
        "build": "1",
        "text_sha256": "ab" * 32,
        "figures": {
            "decode_tps": summarise(launches),
            "resident_peak": summarise([memory] * len(launches)),
            "ppl": summarise([ppl]),
        },
        "launches": {"decode_tps": launches, "resident_peak": (memory,) * len(launches)},
        "chunk_nll": nll,
        "chunk_tokens": (TOKENS,) * len(nll),
    }
    return Candidate(**(given | other))  # pyright: ignore[reportArgumentType]


def names(frontier: Frontier) -> set[str]:
    return {s.candidate.variant for s in frontier.members}


def chances(frontier: Frontier) -> dict[str, float]:
    return {s.candidate.variant: s.probability for s in frontier.standings}


# Figures close enough together that margins matter, and far enough that they do not always.
point = st.tuples(st.integers(95, 110), st.integers(95, 110), st.integers(95, 110))
points = st.lists(point, min_size=1, max_size=9)
quiet = settings(deadline=None, max_examples=150)


def group(figures: Sequence[tuple[int, int, int]]) -> list[Candidate]:
    return [candidate(f"v{i}", float(s), float(m), p / 10) for i, (s, m, p) in enumerate(figures)]


def test_a_faster_smaller_better_one_dominates() -> None:
    frontier = pareto([candidate("good", 110, 90, 11), candidate("bad", 100, 100, 12)])
    assert names(frontier) == {"good"}
    assert chances(frontier) == {"good": 1.0, "bad": 0.0}
    assert frontier.standings[1].dominated_by[0].variant == "good"


def test_near_ties_do_not_knock_each_other_out() -> None:
    frontier = pareto([candidate("a", 100, 100), candidate("b", 101.9, 99.1)])
    assert names(frontier) == {"a", "b"}


def test_a_hair_more_memory_does_not_save_a_slow_one() -> None:
    assert names(pareto([candidate("fast", 150, 100.5), candidate("slow", 100, 100)])) == {"fast"}


def test_a_small_gain_does_not_outweigh_larger_losses_inside_the_margins() -> None:
    # 2.1 % faster, but 0.9 % more memory and 1 % more perplexity inside a wide margin of loss.
    wide = {"low": 11.0, "high": 13.0, "coverage": 0.95}
    a, b = candidate("a", 100, 100, 12.0), candidate("b", 102.1, 100.9, 12.12)
    a, b = (
        dataclasses.replace(c, figures={**c.figures, "ppl": dataclasses.replace(c.figures["ppl"], **wide)})
        for c in (a, b)
    )
    frontier = pareto([a, b])
    assert all(not s.dominated_by for s in frontier.standings)


def test_three_that_would_beat_each_other_in_a_circle_do_not_empty_the_frontier() -> None:
    # One and a half margins better than the next on one axis, within the margin on the others: b > a, c > b, a > c.
    margins = np.array([SPEED_MARGIN, MEMORY_MARGIN, 0.01])
    circle = np.array([[0.0, 0.75, 1.5], [1.5, 0.0, 0.75], [0.75, 1.5, 0.0]]) * margins
    for winner, loser in ((1, 0), (2, 1), (0, 2)):
        gain = (circle[winner] - circle[loser]) / margins
        assert gain.min() >= -1 and gain.max() > 1  # by margins alone each would be beaten
    assert kernel(circle[None], np.full((3, 3), 0.01)).any()


@quiet
@given(points)
def test_the_frontier_is_never_empty(figures: list[tuple[int, int, int]]) -> None:
    frontier = pareto(group(figures), draws=3)
    assert frontier.members and all(s.probability in (0.0, 1.0) for s in frontier.standings)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(*[st.lists(st.floats(90, 110), min_size=1, max_size=4)] * 1), min_size=1, max_size=6))
def test_the_frontier_is_never_empty_under_noise_either(speeds: list[tuple[list[float]]]) -> None:
    assert pareto([candidate(f"v{i}", s) for i, (s,) in enumerate(speeds)], draws=50).members


@quiet
@given(points, point)
def test_adding_one_that_ends_up_dominated_changes_no_other_standing(
    figures: list[tuple[int, int, int]], extra: tuple[int, int, int]
) -> None:
    without = pareto(group(figures), draws=3)
    added = pareto([*group(figures), candidate("extra", extra[0], extra[1], extra[2] / 10)], draws=3)
    if chances(added)["extra"] == 0.0:
        assert chances(added) == chances(without) | {"extra": 0.0}


@quiet
@given(points, st.integers(0, 8), st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)))
def test_one_plainly_worse_than_another_changes_no_other_standing(
    figures: list[tuple[int, int, int]], which: int, worse: tuple[int, int, int]
) -> None:
    s, m, p = figures[which % len(figures)]
    extra = candidate("extra", s / (1.03 + worse[0] / 100), m + worse[1], (p + worse[2]) / 10)
    without, added = pareto(group(figures), draws=3), pareto([*group(figures), extra], draws=3)
    assert chances(added) == chances(without) | {"extra": 0.0}


def noisy(seed: int, n: int, launches: int = 6, chunks: int = 30) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    text = rng.normal(2.5, 0.3, chunks)
    return [
        candidate(
            f"v{i}",
            list(rng.normal(100 * (1 + rng.random()), 2, launches)),
            100 * (1 + rng.random()),
            chunks=list(text + 0.03 * rng.random() + rng.normal(0, 0.005, chunks)),
        )
        for i in range(n)
    ]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.permutations(range(6)))
def test_the_order_of_candidates_changes_no_standing(seed: int, order: list[int]) -> None:
    group = noisy(seed, 6)
    straight = pareto(group, draws=200)
    assert chances(pareto([group[i] for i in order], draws=200)) == pytest.approx(chances(straight), abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([1e-3, 60.0, 1024.0, 1048576.0]), st.sampled_from([1e-3, 8.0, 1048.576]))
def test_units_change_no_standing(seed: int, speed_unit: float, memory_unit: float) -> None:
    group = noisy(seed, 5)
    scaled = [
        candidate(
            c.variant,
            [v * speed_unit for v in c.launches["decode_tps"]],
            c.launches["resident_peak"][0] * memory_unit,
            chunks=[v / TOKENS for v in c.chunk_nll],
        )
        for c in group
    ]
    assert chances(pareto(scaled, draws=200)) == chances(pareto(group, draws=200))


def test_one_dominated_in_every_draw_does_not_disturb_the_probabilities_of_the_others() -> None:
    group = noisy(3, 6)
    before = chances(pareto(group))
    hopeless = candidate("hopeless", [1.0] * 6, 900.0, chunks=[9.0] * 30)
    assert chances(pareto([*group, hopeless])) == before | {"hopeless": 0.0}


def test_the_same_seed_gives_the_same_probabilities_and_another_seed_nearly_the_same() -> None:
    group = noisy(5, 6)
    assert pareto(group, seed=1) == pareto(group, seed=1)
    assert chances(pareto(group, seed=1)) == pytest.approx(chances(pareto(group, seed=2)), abs=0.06)


def test_speed_noise_larger_than_the_difference_leaves_the_slower_one_a_chance() -> None:
    noise = [80.0, 90.0, 100.0, 110.0, 120.0, 130.0]
    frontier = pareto([candidate("a", noise), candidate("b", [v * 1.03 for v in noise])])
    assert 0.1 < chances(frontier)["a"] < 0.9 and not frontier.standings[0].certain


def test_quality_is_compared_on_the_same_chunks_so_common_difficulty_cancels() -> None:
    # Chunks differ by ±1 nat among themselves, the two candidates by 0.01 nat on every chunk: clear when paired.
    text = list(np.random.default_rng(0).normal(2.5, 1.0, 40))
    worse = [c + 0.01 + 0.001 * (i % 2) for i, c in enumerate(text)]
    frontier = pareto([candidate("good", 100.0, chunks=text), candidate("worse", 100.0, chunks=worse)])
    assert chances(frontier) == {"good": 1.0, "worse": 0.0}


def test_a_difference_in_quality_within_its_noise_does_not_count() -> None:
    rng = np.random.default_rng(1)
    text = rng.normal(2.5, 0.2, 40)
    shaken = text + rng.normal(0.0005, 0.02, 40)
    frontier = pareto([candidate("a", 100.0, chunks=list(text)), candidate("b", 130.0, chunks=list(shaken))])
    assert names(frontier) == {"b"}  # 30 % faster, and not measurably worse


def test_few_launches_are_said_and_never_certain() -> None:
    frontier = pareto([candidate("a", [110.0, 111.0], 90, 11), candidate("b", [100.0, 101.0])])
    assert frontier.members[0].probability == 1.0 and not frontier.members[0].certain
    assert "2 launches: the spread between launches is not known" in frontier.members[0].remark
    sure = pareto([candidate("a", [110.0, 111.0, 112.0], 90, 11), candidate("b", [100.0, 101.0, 102.0])])
    assert sure.members[0].certain and not sure.members[0].remark


def test_when_nobody_reaches_one_half_the_likeliest_stand_with_a_remark() -> None:
    noise = [60.0, 80.0, 100.0, 120.0, 140.0, 170.0]
    frontier = pareto([candidate(n, [v * (1 + 0.001 * i) for v in noise]) for i, n in enumerate("abcdef")])
    assert max(chances(frontier).values()) < 0.5
    assert frontier.members and "noise is larger than the differences" in frontier.members[0].remark


def test_what_cannot_be_compared_is_listed_with_the_reason() -> None:
    whole = [candidate(n, 100.0) for n in "abc"]
    slow = dataclasses.replace(
        candidate("failed", 1.0), figures={}, failures=("bench: load: out of memory",), launches={}
    )
    other = candidate("other", 100.0, text_sha256="cd" * 32)
    longer = candidate("longer", 100.0, workloads={"decode_tps": "app p512 n128"})
    frontier = pareto([*whole, slow, other, longer])
    reasons = {c.variant: why for c, why in frontier.left_out}
    assert reasons["failed"] == ("no decode speed and no peak memory and no perplexity (bench: load: out of memory)")
    assert reasons["other"] == "its perplexity is of another text (cdcdcdcdcdcd) than the others' (abababababab)"
    assert reasons["longer"] == "its decode speed is of 'app p512 n128', the others' of ''"
    assert names(frontier) == {"a", "b", "c"}


def test_different_numbers_of_chunks_of_one_text_are_not_compared() -> None:
    frontier = pareto([candidate(n, 100.0, chunks=[2.0] * 5) for n in "ab"] + [candidate("c", 100.0, chunks=[2.0] * 3)])
    assert [(c.variant, why) for c, why in frontier.left_out] == [
        ("c", "its perplexity is of 3 chunks of the text, the others' of 5")
    ]


def test_a_figure_that_is_no_number_is_left_out() -> None:
    assert pareto([candidate("a", float("nan")), candidate("b", 1.0)]).left_out[0][1] == "no decode speed"


def test_nothing_to_compare_is_an_empty_frontier() -> None:
    assert pareto([]).members == ()


def test_candidates_of_two_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="one device and one model"):
        pareto([candidate("a", 1.0), candidate("b", 1.0, device="there")])


def test_kl_divergence_can_be_the_quality_and_zero_is_a_value() -> None:
    def with_kld(name: str, speed: float, kld: float) -> Candidate:
        c = candidate(name, speed)
        return dataclasses.replace(c, figures={**c.figures, "kld_mean": summarise([kld])})

    frontier = pareto(
        [with_kld("F16", 100, 0.0), with_kld("Q8", 150, 0.001), with_kld("Q2", 150, 0.2)], quality="kld_mean"
    )
    assert names(frontier) == {"F16", "Q8"}


def test_a_large_group_is_thinned_without_changing_who_is_on_the_frontier(monkeypatch: pytest.MonkeyPatch) -> None:
    group = noisy(11, 120, chunks=8)
    thinned = pareto(group, draws=200)
    monkeypatch.setattr("quantfarm.statistics.thinning.THINNED_ABOVE", 1000)
    whole = pareto(group, draws=200)
    assert names(thinned) == names(whole)
    assert chances(thinned) == pytest.approx(chances(whole), abs=0.02)


def answering(name: str, speed: float, right: Sequence[bool], low: float = 0.0) -> Candidate:
    """One with a task's accuracy and, document by document, which answers were right."""
    share = 100 * sum(right) / len(right)
    c = candidate(name, speed)
    accuracy = Summary(value=share, mad=0.0, n=len(right), low=share - low, high=share + low)
    items = {"acc_arc": Answers(right={f"doc{i}": one for i, one in enumerate(right)}, groups={})}
    return dataclasses.replace(c, figures={**c.figures, "acc_arc": accuracy}, items=items)


def test_accuracy_can_be_the_quality_and_is_compared_on_the_same_documents() -> None:
    text = np.random.default_rng(2).random(400) < 0.6
    worse = text.copy()
    worse[np.flatnonzero(text)[:25]] = False  # 25 of 400 that the other has right: clear when paired
    frontier = pareto([answering("good", 100, list(text)), answering("worse", 100, list(worse))], quality="acc_arc")
    assert names(frontier) == {"good"} and chances(frontier)["worse"] < 0.05


def test_a_difference_in_accuracy_that_chance_explains_does_not_count() -> None:
    random = np.random.default_rng(3)
    a, b = random.random(200) < 0.6, random.random(200) < 0.6
    frontier = pareto([answering("a", 100, list(a)), answering("b", 130, list(b))], quality="acc_arc")
    assert "b" in names(frontier) and not frontier.standings[0].certain


def test_accuracies_of_other_documents_are_not_compared() -> None:
    some = [answering(n, 100, [True, False] * 20) for n in "ab"]
    frontier = pareto([*some, answering("c", 100, [True] * 10)], quality="acc_arc")
    assert [(c.variant, why) for c, why in frontier.left_out] == [
        ("c", "its acc_arc is of other documents (10) than the others' (40)")
    ]


def test_accuracies_without_their_answers_stand_with_their_intervals_and_none_right_is_a_value() -> None:
    group = [answering("a", 100, [False] * 8, 20.0), answering("b", 100, [True] * 8, 1.0)]
    group = [dataclasses.replace(c, items={}) for c in group]
    frontier = pareto(group, quality="acc_arc")
    assert names(frontier) == {"b"} and not frontier.left_out


def by_definition(points: np.ndarray, loss_margin: np.ndarray) -> np.ndarray:
    """The kernel as it is defined, point by point down the scale."""
    draws, n, _ = points.shape
    out = np.zeros((draws, n), dtype=bool)
    for draw in range(draws):
        for winner in np.argsort(-scale(points[draw]), kind="stable"):
            if not out[draw, winner]:
                out[draw] |= beats(points[draw, winner][None], points[draw], loss_margin[winner])
    return ~out


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 10**6), st.integers(1, 14), st.integers(1, 70), st.sampled_from([0.001, 0.01, 0.03, 0.2]))
def test_the_kernel_is_the_one_that_is_defined(seed: int, n: int, draws: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 0.03, (1, n, 3)) + rng.normal(0, noise, (draws, n, 3))
    points[..., 2] += rng.normal(0, 0.5, (draws, 1))  # a text's own difficulty, shared by all
    if seed % 2:
        points = np.round(points / 0.01) * 0.01  # ties, and margins met exactly
    margin = np.abs(rng.normal(0, 0.01, (n, n)))
    margin = (margin + margin.T) / 2
    assert np.array_equal(kernel(points, margin), by_definition(points, margin))


def test_the_kernel_of_many_pairs_is_the_same_as_that_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantfarm.statistics.dominance.MANY_PAIRS", 0)
    monkeypatch.setattr("quantfarm.statistics.dominance.LOOK", 2)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        points = rng.normal(0, 0.03, (1, 25, 3)) + rng.normal(0, 0.01 * (seed % 4), (40, 25, 3))
        margin = np.full((25, 25), 0.01)
        assert np.array_equal(kernel(points, margin), by_definition(points, margin))


def test_thinning_leaves_nobody_out_who_is_on_the_frontier_of_a_trade_off(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    along = rng.random(150)
    group = [
        candidate(
            f"v{i}",
            list(100 / (0.2 + q) * rng.normal(1, 0.01, 6)),
            1000 * (0.2 + q) * float(np.exp(rng.exponential(0.2))),
            float(np.exp(2.5 + 0.3 * np.exp(-4 * q) + rng.exponential(0.05))),
        )
        for i, q in enumerate(along)
    ]
    thinned = pareto(group, draws=100)
    monkeypatch.setattr("quantfarm.statistics.thinning.THINNED_ABOVE", 1000)
    assert chances(thinned) == pytest.approx(chances(pareto(group, draws=100)), abs=0.02)
