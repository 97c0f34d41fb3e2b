"""Who is beaten: dominance with margins over (speed ↑, memory ↓, loss ↓), and the kernel that remains.

All axes are logarithms or nats, higher is better: ln(tok/s), -ln(MiB), -loss. So a margin is a difference
and units do not matter. B dominates A when

1. B is nowhere worse than A by more than the margin (2 % speed, 1 % memory, 2 SE of the paired loss),
2. B is somewhere better by more than the margin, and
3. what B gains outweighs what it loses, each counted in margins (1 % of perplexity or 0.01 nat for loss).

Near-ties fail 2 both ways: neither beats the other. Without 3 three points could beat each other in a
circle, each through the next one's tolerance, and nobody would be left; with it every win goes up a
scale, so no circle exists. A tolerance is not transitive (Z ties Y, Y ties X, Z loses to X), so "beaten by
anyone" would let a beaten point beat others. Here a point is out when a point *that remains* beats it: the
kernel of an acyclic relation, which exists, is unique and is never empty (von Neumann & Morgenstern,
Theory of Games, §65). A point that is out therefore changes nobody's standing: with or without it the
kernel is the same.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SPEED_MARGIN = math.log(1.02)
MEMORY_MARGIN = math.log(1.01)
QUALITY_SES = 2.0
#: What counts as one margin of loss when gains are weighed against losses: 1 % of perplexity, one point of accuracy.
LOSS_UNIT = math.log(1.01)
#: Differences below this are rounding: a margin met exactly is not exceeded, in whatever unit.
ROUNDING = 1e-9


def scale(points: Array) -> Array:
    """The scale that every win must go up, in margins. Shape (…, 3) -> (…)."""
    return points @ np.array([1 / SPEED_MARGIN, 1 / MEMORY_MARGIN, 1 / LOSS_UNIT])


def beats(winner: Array, losers: Array, loss_margin: Array) -> Mask:
    """Whether `winner` (…, 1, 3) dominates each of `losers` (…, n, 3); `loss_margin` (…, n)."""
    gain = winner - losers
    nowhere_worse = (
        (gain[..., 0] >= -SPEED_MARGIN - ROUNDING)
        & (gain[..., 1] >= -MEMORY_MARGIN - ROUNDING)
        & (gain[..., 2] >= -loss_margin - ROUNDING)
    )
    somewhere_better = (
        (gain[..., 0] > SPEED_MARGIN + ROUNDING)
        | (gain[..., 1] > MEMORY_MARGIN + ROUNDING)
        | (gain[..., 2] > loss_margin + ROUNDING)
    )
    return nowhere_worse & somewhere_better & (scale(gain) > ROUNDING)


def kernel(points: Array, loss_margin: Array) -> Mask:
    """Which points remain, in each draw. `points` (draws, n, 3), `loss_margin` (n, n) -> (draws, n).

    Goes down the scale: whoever is not beaten by one that remains, remains. O(draws · n²) time and
    O(draws · n) memory.
    """
    draws, n = points.shape[0], points.shape[1]
    rows = np.arange(len(points))
    order = np.argsort(-scale(points), axis=1, kind="stable")
    out = np.zeros((draws, n), dtype=bool)
    for place in range(n):
        at = order[:, place]
        remains = ~out[rows, at]
        beaten = beats(points[rows, at][:, None, :], points, loss_margin[at])
        out |= beaten & remains[:, None]
    return ~out


def beaten_by(points: Array, loss_margin: Array) -> list[list[int]]:
    """For each of n points (n, 3) the remaining points that dominate it."""
    remains = kernel(points[None], loss_margin)[0]
    beaten: list[list[int]] = [[] for _ in points]
    for winner in np.flatnonzero(remains):
        for loser in np.flatnonzero(beats(points[winner][None], points, loss_margin[winner])):
            beaten[loser].append(int(winner))
    return beaten
