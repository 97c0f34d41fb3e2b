"""What the frontier of a large group promises: the same answers as a look at every pair, in memory that stays small."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantfarm.statistics.dominance import beaten_by, beats, scale
from quantfarm.statistics.frontier import pareto
from quantfarm.statistics.many import remaining, remaining_winners
from quantfarm.statistics.margins import Margins
from tests.test_statistics_frontier import by_definition, candidate, noisy

quiet = settings(deadline=None, max_examples=60)


@pytest.fixture(scope="module", autouse=True)
def _every_group_counts_as_large():  # pyright: ignore[reportUnusedFunction]
    """And the top is asked a few at a time, so that ranks close several times in a small group."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantfarm.statistics.many.PAIRWISE", 0)
        patch.setattr("quantfarm.statistics.many.TOP", 3)
        patch.setattr("quantfarm.statistics.many.SIDE_BY_SIDE", 4)
        yield


def along_a_trade_off(seed: int, n: int, draws: int, noise: float) -> np.ndarray:
    """Fast and small, or good: n points that lie dense along one curve, shaken in every draw."""
    rng = np.random.default_rng(seed)
    along = rng.random(n)
    curve = np.stack([-0.3 * along, -0.3 * along - 0.01 * rng.random(n), -0.2 * np.exp(-3 * along)], axis=1)
    points = curve + rng.normal(0, noise, (draws, n, 3))
    points[..., 2] += rng.normal(0, 0.5, (draws, 1))  # a text's own difficulty, shared by all
    return np.round(points / 0.005) * 0.005 if seed % 2 else points  # ties too


def margins_of(seed: int, n: int) -> Margins:
    """Of losses whose errors are paired, or not, by turns."""
    rng = np.random.default_rng(seed)
    paired = seed % 4 < 2
    errors = rng.normal(0, 0.002, (n, 7)) + rng.normal(0, 0.1, 7) if paired else rng.uniform(0, 0.01, (n, 1))
    return Margins(errors, paired, 2.0)


def many(test):
    return quiet(given(st.integers(0, 10**6), st.integers(1, 60), st.sampled_from([0.0, 0.003, 0.02]))(test))


@many
def test_who_remains_along_a_dense_trade_off_is_who_is_defined_to(seed: int, n: int, noise: float) -> None:
    points, margins = along_a_trade_off(seed, n, 9, noise), margins_of(seed, n)
    assert np.array_equal(remaining(points, margins), by_definition(points, margins.matrix()))


@many
def test_who_beats_each_is_the_same_as_from_all_pairs(seed: int, n: int, noise: float) -> None:
    points, margins = along_a_trade_off(seed, n, 1, noise)[0], margins_of(seed, n)
    assert remaining_winners(points, margins) == beaten_by(points, margins.matrix())


@many
def test_no_margin_is_wider_than_its_bound(seed: int, n: int, noise: float) -> None:
    margins = margins_of(seed, n)
    between = np.array([margins.between(i, np.arange(n)) for i in range(n)])
    assert between == pytest.approx(margins.matrix(), abs=1e-7)
    assert (between <= margins.at_most()[:, None] + 1e-12).all()


def test_a_frontier_with_shared_chunks_is_the_same_as_from_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    group = [*noisy(11, 40), candidate("odd", [99.0, 100.0, 101.0], 120.0, chunks=[2.6] * 30)]
    by_draw = pareto(group, draws=100)
    monkeypatch.setattr("quantfarm.statistics.many.PAIRWISE", 1000)
    assert by_draw == pareto(group, draws=100)


def test_memory_grows_with_the_points_and_not_with_their_pairs() -> None:
    n = 6000  # a number for each pair would be 288 MB
    points = along_a_trade_off(2, n, 2, 0.003)
    margins = Margins(np.full((n, 1), 0.002), False, 2.0)
    tracemalloc.start()
    remains = remaining(points, margins)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20e6
    for draw in range(2):
        top = int(np.argmax(scale(points[draw])))
        beaten = beats(points[draw, top][None], points[draw], margins.between(top, np.arange(n)))
        assert remains[draw, top] and not (remains[draw] & beaten).any()
