"""Large groups made small before the bootstrap: who loses outright can be left out without a draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from quantfarm.candidates import Candidate
from quantfarm.statistics.dominance import MEMORY_MARGIN, SPEED_MARGIN, Mask, scale
from quantfarm.statistics.resample import MEMORY, figure_loss, has_chunks, launch_values

#: Groups up to this size are not thinned; also the number of champions that thin a larger one.
THINNED_ABOVE = 64


def not_outright_beaten(kept: Sequence[Candidate], quality: str, speed: str) -> Mask:
    """All, in a group of usual size. In a large one: those that no strong candidate beats in everything, in
    every possible draw, and beyond the margin in speed or memory. Keeps a group of 10⁵ affordable."""
    alive = np.ones(len(kept), dtype=bool)
    if len(kept) <= THINNED_ABOVE:
        return alive
    worst, best = (np.array([_extreme(c, quality, speed, end) for c in kept]) for end in (min, max))
    strength = scale(np.stack([worst[:, 0], worst[:, 1], worst[:, 2:].mean(axis=1)], axis=1))
    for champion in np.argsort(-strength, kind="stable")[:THINNED_ABOVE]:
        if alive[champion]:
            lead = worst[champion] - best
            beyond = (lead[:, 0] > SPEED_MARGIN) | (lead[:, 1] > MEMORY_MARGIN)
            alive &= ~((lead >= 0).all(axis=1) & beyond)
    return alive


def _extreme(candidate: Candidate, quality: str, speed: str, end: Callable[[Iterable[float]], float]) -> list[float]:
    """The worst (`end` min) or best (max) that any draw can give, higher is better; loss by chunk."""
    fast = math.log(end(launch_values(candidate, speed)))
    small = end(-math.log(m) for m in launch_values(candidate, MEMORY))
    if quality == "ppl" and has_chunks(candidate):
        pairs = zip(candidate.chunk_nll, candidate.chunk_tokens, strict=True)
        return [fast, small, *(-nll / tokens for nll, tokens in pairs)]
    loss, error = figure_loss(candidate, quality)
    return [fast, small, end((-loss - 5 * error, -loss + 5 * error))]
