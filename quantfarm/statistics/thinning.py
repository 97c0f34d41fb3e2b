"""Large groups made small before the bootstrap: who loses outright can be left out without a draw."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from quantfarm.candidates import Candidate
from quantfarm.statistics.columns import Column
from quantfarm.statistics.dominance import MEMORY_MARGIN, SPEED_MARGIN, Array, Mask, scale
from quantfarm.statistics.resample import figure_losses, has_chunks

#: Groups up to this size are not thinned.
THINNED_ABOVE = 64
#: Champions are sought in so many directions between speed, memory and loss, as often as that helps.
DIRECTIONS = 64
#: A group of this size or less is then looked at pair by pair.
PAIRWISE = 4000
#: The least and greatest loss that a draw from a figure's interval can give, in standard errors.
WIDE = 5


def not_outright_beaten(kept: Sequence[Candidate], fast: Column, memory: Column, quality: str) -> Mask:
    """All, in a group of usual size. In a large one: those that no strong candidate beats in everything, in
    every possible draw, and beyond the margin in speed or memory. Keeps a group of 10⁵ affordable."""
    if len(kept) <= THINNED_ABOVE:
        return np.ones(len(kept), dtype=bool)
    worst_loss, best_loss = _losses(kept, quality)
    worst = np.column_stack([np.log(fast.least), -np.log(memory.most)])
    best = np.column_stack([np.log(fast.most), -np.log(memory.least)])
    left = _Left(worst, best, worst_loss, best_loss)
    left.by_direction()
    left.by_strength()
    alive = np.zeros(len(kept), dtype=bool)
    alive[left.places] = True
    return alive


class _Left:
    """Whoever is left, by place. Higher is better; the losses, which may be many (one for each chunk), are read
    where speed and memory leave it open."""

    def __init__(self, worst: Array, best: Array, worst_loss: Array, best_loss: Array) -> None:
        self.places = np.arange(len(worst))
        self._worst, self._best, self._worst_loss, self._best_loss = worst, best, worst_loss, best_loss
        self._axes = np.column_stack([worst, worst_loss.mean(axis=1)])

    def by_direction(self) -> None:
        """Removes whom the best in any of many directions beat; again as long as that is every tenth."""
        weights = np.random.default_rng(0).dirichlet((0.7, 0.7, 0.7), size=DIRECTIONS)
        before = 0
        while before == 0 or len(self.places) < 0.9 * before:
            before = len(self.places)
            spread = self._axes[self.places].std(axis=0) + 1e-12
            for weight in weights:
                self._against(int(self.places[np.argmax(self._axes[self.places] @ (weight / spread))]))

    def by_strength(self) -> None:
        """Removes whom anybody left beats, the strongest first: only a weaker one can lose to it in everything."""
        if len(self.places) > PAIRWISE:
            return
        for champion in self.places[np.argsort(-scale(self._axes[self.places]), kind="stable")]:
            if champion in self.places:
                self._against(int(champion))

    def _against(self, champion: int) -> None:
        lead = self._worst[champion] - self._best[self.places]
        loses = (lead >= 0).all(axis=1) & ((lead[:, 0] > SPEED_MARGIN) | (lead[:, 1] > MEMORY_MARGIN))
        open_to = np.flatnonzero(loses)
        loses[open_to] = (self._worst_loss[champion] >= self._best_loss[self.places[open_to]]).all(axis=1)
        if loses.any():
            self.places = self.places[~loses]


def _losses(kept: Sequence[Candidate], quality: str) -> tuple[Array, Array]:
    """The worst and best loss that any draw can give, higher is better. Shape (n, chunks), or (n, 1) without."""
    if quality == "ppl" and has_chunks(kept[0]):
        chunks = len(kept[0].chunk_nll)
        flat = chain.from_iterable(c.chunk_nll for c in kept)
        nll = np.fromiter(flat, dtype=np.float64, count=chunks * len(kept)).reshape(len(kept), chunks)
        loss = -nll / np.asarray(kept[0].chunk_tokens, dtype=np.float64)
        return loss, loss
    estimate, error = figure_losses(kept, quality)
    return (-estimate - WIDE * error)[:, None], (-estimate + WIDE * error)[:, None]
