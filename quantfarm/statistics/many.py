"""The kernel of a group too large for a look at every pair: draw by draw, down the scale that every win goes up.

Memory grows with the points, never with their pairs. The top of the scale cannot be beaten, so it remains; whom
it beats is out; whoever is then the top remains, and so on.
"""

from __future__ import annotations

import numpy as np

from quantfarm.statistics.dominance import (
    MEMORY_MARGIN,
    SLACK,
    SPEED_MARGIN,
    Array,
    Mask,
    beaten_by,
    beats,
    kernel,
    scale,
)
from quantfarm.statistics.margins import Margins

#: Groups up to this size are looked at pair by pair.
PAIRWISE = 1500
#: So many draws are laid out side by side, and so many of the top are asked before the others close ranks.
SIDE_BY_SIDE, TOP = 32, 32


def remaining(points: Array, margins: Margins) -> Mask:
    """`kernel` for a group of any size: `points` (draws, n, 3) -> (draws, n)."""
    draws, n, _ = points.shape
    if n <= PAIRWISE:
        return kernel(points, margins.matrix())
    widest, remains = margins.at_most(), np.zeros((draws, n), dtype=bool)
    for start in range(0, draws, SIDE_BY_SIDE):
        block = np.ascontiguousarray(points[start : start + SIDE_BY_SIDE])
        for draw, those in enumerate(block, start):
            remains[draw, _in_one(those, margins, widest)] = True
    return remains


def remaining_winners(points: Array, margins: Margins) -> list[list[int]]:
    """`beaten_by` for a group of any size: for each of n points (n, 3) the remaining points that dominate it."""
    if len(points) <= PAIRWISE:
        return beaten_by(points, margins.matrix())
    everybody, winners = np.arange(len(points)), [list[int]() for _ in points]
    for winner in sorted(_in_one(points, margins, margins.at_most())):
        for loser in np.flatnonzero(beats(points[winner][None], points, margins.between(winner, everybody))):
            winners[loser].append(winner)
    return winners


def _in_one(points: Array, margins: Margins, widest: Array) -> list[int]:
    """Who remains of points (n, 3)."""
    left = np.argsort(-scale(points), kind="stable")
    remain: list[int] = []
    while len(left):
        axes, stands = np.ascontiguousarray(points[left].T), np.ones(len(left), dtype=bool)
        for place in range(min(TOP, len(left))):
            if stands[place]:
                winner = int(left[place])
                remain.append(winner)
                near = np.flatnonzero(_within_reach(axes, place, widest[winner]))
                losers = left[near]
                lost = beats(points[winner][None], points[losers], margins.between(winner, losers))
                stands[near[lost]] = False
        stands[:TOP] = False
        left = left[stands]
    return remain


def _within_reach(axes: Array, place: int, widest: float) -> Mask:
    """Who is nowhere better than the one at `place` by more than the margin may be: nobody else can lose to it."""
    fast, small, good = axes
    reach = fast <= fast[place] + (SPEED_MARGIN + SLACK)
    reach &= small <= small[place] + (MEMORY_MARGIN + SLACK)
    reach &= good <= good[place] + (widest + SLACK)
    return reach
