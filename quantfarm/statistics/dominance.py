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
Indices = NDArray[np.intp]
Bits = NDArray[np.uint64]

SPEED_MARGIN = math.log(1.02)
MEMORY_MARGIN = math.log(1.01)
QUALITY_SES = 2.0
#: What counts as one margin of loss when gains are weighed against losses: 1 % of perplexity, one point of accuracy.
LOSS_UNIT = math.log(1.01)
#: Differences below this are rounding: a margin met exactly is not exceeded, in whatever unit.
ROUNDING = 1e-9
#: Where more pairs than these may beat each other, a look at so many draws says whom to ask about first.
MANY_PAIRS, LOOK = 4000, 64
#: What a bound over all draws is loosened by: more than rounding can be.
SLACK = 1e-7


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

    Whoever is not beaten by one that remains, remains. Pairs that can beat each other in no draw are not looked at,
    and a point that loses in every draw to one that nobody can beat is out without a look.
    """
    alive, winners, losers = _open_pairs(points, loss_margin)
    if len(winners) <= MANY_PAIRS or len(points) <= LOOK:
        return _among(points, loss_margin, alive, winners, losers)
    chosen = kernel(points[:LOOK], loss_margin).any(axis=0) & alive
    while True:  # a set that beats all others, none of it beaten by another of it, is the kernel, whoever it was
        within = chosen[winners] & chosen[losers]
        remains = _among(points, loss_margin, chosen, winners[within], losers[within])
        across = chosen[winners] & ~chosen[losers]
        missed = _not_beaten(points, loss_margin, remains, winners[across], losers[across], alive & ~chosen)
        if not missed.any():
            return remains
        chosen = chosen | missed


def _among(points: Array, loss_margin: Array, members: Mask, winners: Indices, losers: Indices) -> Mask:
    """The kernel of the members alone, from all the pairs of them that may beat, by loser."""
    draws, n = points.shape[:2]
    remains = np.zeros((draws, n), dtype=bool)
    remains[:, members] = True
    if len(winners):
        axes = np.ascontiguousarray(points.transpose(1, 2, 0))  # point, axis, draw
        blocks = zip(_blocks(winners), _blocks(losers), strict=True)
        won = np.concatenate([_packed(_beats(axes[i], axes[j], loss_margin[i, j])) for i, j in blocks])
        out = np.unpackbits(_out(won, winners, losers, n).view(np.uint8), axis=1, count=draws).astype(bool)
        remains &= ~out.T
    return remains


def _not_beaten(
    points: Array, loss_margin: Array, remains: Mask, winners: Indices, losers: Indices, those: Mask
) -> Mask:
    """Which of `those` stand in some draw against all that remain in it: asked of the likeliest winners first."""
    often, missed = remains.sum(axis=0), those.copy()
    for loser in np.flatnonzero(those):
        first, last = np.searchsorted(losers, (loser, loser + 1))
        standing = np.arange(len(points))
        for winner in winners[first:last][np.argsort(-often[winners[first:last]], kind="stable")]:
            pair = points[standing, winner][:, None], points[standing, loser][:, None]
            beaten = beats(*pair, np.full((1, 1), loss_margin[winner, loser]))[:, 0]
            standing = standing[~(beaten & remains[standing, winner])]
            if not len(standing):
                missed[loser] = False
                break
    return missed


def _open_pairs(points: Array, loss_margin: Array) -> tuple[Mask, Indices, Indices]:
    """Who is not out in every draw, and the pairs (winner, loser) of these that may beat in some draw, by loser."""
    low, high = _range(points)
    gain = high[:, None] - low[None, :]  # at most, (n, n, 4)
    margins = (SPEED_MARGIN, MEMORY_MARGIN, loss_margin)
    may = gain[..., 3] > 0
    for axis, margin in enumerate(margins):
        may &= gain[..., axis] >= -margin - SLACK
    may &= (gain[..., 0] > SPEED_MARGIN) | (gain[..., 1] > MEMORY_MARGIN) | (gain[..., 2] > loss_margin - SLACK)
    np.fill_diagonal(may, val=False)
    alive = _not_surely_out(may, low[:, None] - high[None, :], loss_margin)
    losers, winners = np.nonzero((may & alive[:, None] & alive[None, :]).T)
    return alive, winners, losers


def _range(points: Array) -> tuple[Array, Array]:
    """The least and greatest of each axis and of the scale over the draws, (n, 4). What a draw's losses have in
    common (they are of one text) is no difference between them, and is taken off."""
    loss = points[..., 2] - points[..., 2].mean(axis=1, keepdims=True)
    fast, small = points[..., 0], points[..., 1]
    steps = scale(np.stack([fast, small, loss], axis=-1))
    ends = [(axis.min(axis=0), axis.max(axis=0)) for axis in (fast, small, loss, steps)]
    low, high = np.stack([end[0] for end in ends], axis=1), np.stack([end[1] for end in ends], axis=1)
    low[:, 3], high[:, 3] = low[:, 3] - SLACK, high[:, 3] + SLACK
    return low, high


def _not_surely_out(may: Mask, least: Array, loss_margin: Array) -> Mask:
    """All but those that lose in every draw to one whom nobody who is left can beat. `least`: the least gain."""
    must = (least[..., 3] > SLACK) & (least[..., 0] >= -SPEED_MARGIN) & (least[..., 1] >= -MEMORY_MARGIN)
    must &= least[..., 2] >= -loss_margin
    must &= (
        (least[..., 0] > SPEED_MARGIN + SLACK)
        | (least[..., 1] > MEMORY_MARGIN + SLACK)
        | (least[..., 2] > loss_margin + SLACK)
    )
    alive = np.ones(len(may), dtype=bool)
    while True:
        safe = alive & ~may[alive].any(axis=0)
        out = alive & must[safe].any(axis=0)
        if not out.any():
            return alive
        alive &= ~out


def _beats(winners: Array, losers: Array, loss_margin: Array) -> Mask:
    """`beats` for pairs (p, 3, draws), `loss_margin` (p,) -> (p, draws)."""
    gain, allowed = winners - losers, loss_margin[:, None] + ROUNDING
    fast, small, good = gain[:, 0], gain[:, 1], gain[:, 2]
    better = (fast > SPEED_MARGIN + ROUNDING) | (small > MEMORY_MARGIN + ROUNDING) | (good > allowed)
    better &= fast >= -SPEED_MARGIN - ROUNDING
    better &= small >= -MEMORY_MARGIN - ROUNDING
    better &= good >= -allowed
    better &= fast / SPEED_MARGIN + small / MEMORY_MARGIN + good / LOSS_UNIT > ROUNDING
    return better


def _packed(won: Mask) -> Bits:
    """A bit for each draw, in whole words."""
    spare = -won.shape[1] % 64
    return np.packbits(np.pad(won, ((0, 0), (0, spare))), axis=1).view(np.uint64)


def _blocks(pairs: Indices, size: int = 16) -> list[Indices]:
    """So many at a time as a processor's cache holds."""
    return [pairs[at : at + size] for at in range(0, len(pairs), size)]


def _out(won: Bits, winners: Indices, losers: Indices, n: int) -> Bits:
    """Who is beaten by one that remains, a bit for each draw. `won` (pairs, bits), by loser -> (n, bits).

    Looked at again until nothing changes: no circle exists, so whoever is k wins from the top is settled after k looks.
    """
    starts = np.flatnonzero(np.diff(losers, prepend=-1))
    out = np.zeros((n, won.shape[1]), dtype=np.uint64)
    while True:
        now = np.zeros_like(out)
        now[losers[starts]] = np.bitwise_or.reduceat(won & ~out[winners], starts, axis=0)
        if np.array_equal(now, out):
            return out
        out = now


def beaten_by(points: Array, loss_margin: Array) -> list[list[int]]:
    """For each of n points (n, 3) the remaining points that dominate it."""
    remains = kernel(points[None], loss_margin)[0]
    beaten: list[list[int]] = [[] for _ in points]
    for winner in np.flatnonzero(remains):
        for loser in np.flatnonzero(beats(points[winner][None], points, loss_margin[winner])):
            beaten[loser].append(int(winner))
    return beaten
