"""The Pareto frontier of one device and model: who is worth considering, and how sure that is.

Three axes: decode speed ↑, resident peak memory ↓, loss ↓ (perplexity, mean KL divergence, or a task's). Dominance
has margins (quantfarm.statistics.dominance); the probability of being non-dominated is the share of
bootstrap draws in which a candidate remains (quantfarm.statistics.resample). On the frontier from 0.5,
certain from 0.95.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantfarm.candidates import Candidate
from quantfarm.statistics.comparable import reasons_against
from quantfarm.statistics.dominance import QUALITY_SES, Array, Mask, beaten_by, kernel
from quantfarm.statistics.resample import MEMORY, SPEED, key, launch_values, log_medians, losses
from quantfarm.statistics.thinning import not_outright_beaten

ON_FRONTIER, CERTAIN = 0.5, 0.95
#: Below this many launches a bootstrap by launch cannot know the spread between launches.
FEW_LAUNCHES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """`probability` of being non-dominated; `dominated_by`: who on the frontier of the point estimates beats it."""

    candidate: Candidate
    probability: float
    on_frontier: bool
    certain: bool
    dominated_by: tuple[Candidate, ...] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """Standings in the order given; `left_out`: candidates that cannot be compared, each with the reason."""

    standings: tuple[Standing, ...]
    left_out: tuple[tuple[Candidate, str], ...] = ()
    quality: str = "ppl"
    speed: str = SPEED
    draws: int = 0
    seed: int = 0

    @property
    def members(self) -> tuple[Standing, ...]:
        """Who is on the frontier, fastest first."""
        on = [s for s in self.standings if s.on_frontier]
        return tuple(sorted(on, key=lambda s: (-(s.candidate.value(self.speed) or 0.0), key(s.candidate))))

    def of(self, candidate: Candidate) -> Standing | None:
        return next((s for s in self.standings if key(s.candidate) == key(candidate)), None)


def pareto(
    candidates: Sequence[Candidate], *, quality: str = "ppl", speed: str = SPEED, draws: int = 2000, seed: int = 0
) -> Frontier:
    """The frontier of candidates of one device and model. The same for a seed, whatever their order.

    `quality` is `ppl`, `kld_mean` or a task's accuracy (`acc_arc_easy`).
    Raises ValueError for candidates of several devices or models.
    """
    if len({(c.device, c.model) for c in candidates}) > 1:
        raise ValueError("a frontier is of one device and one model")
    reasons = reasons_against(candidates, speed, quality)
    kept = [c for c, reason in zip(candidates, reasons, strict=True) if not reason]
    return Frontier(
        standings=_standings(kept, quality, speed, draws, seed) if kept else (),
        left_out=tuple((c, reason) for c, reason in zip(candidates, reasons, strict=True) if reason),
        quality=quality,
        speed=speed,
        draws=draws,
        seed=seed,
    )


def _standings(kept: Sequence[Candidate], quality: str, speed: str, draws: int, seed: int) -> tuple[Standing, ...]:
    alive = not_outright_beaten(kept, quality, speed)
    some = [c for c, lives in zip(kept, alive, strict=True) if lives]
    loss = losses(some, quality, draws, seed, QUALITY_SES)
    fast = np.stack([log_medians(c, speed, draws, seed) for c in some], axis=1)
    small = np.stack([-log_medians(c, MEMORY, draws, seed) for c in some], axis=1)
    points = np.stack([fast, small, -loss.drawn], axis=2)
    chance = np.zeros(len(kept))
    chance[alive] = kernel(points, loss.margin).mean(axis=0)
    winners = _winners(kept, alive, np.stack([*_speed_and_memory(some, speed), -loss.estimate], axis=1), loss.margin)
    on = chance >= ON_FRONTIER
    unsettled = not on.any()
    if unsettled:  # every draw has somebody left: the noise is larger than the differences
        on = chance >= chance.max()
    return tuple(
        _standing(c, float(chance[i]), bool(on[i]), winners[i], _remark(c, speed, unsettled))
        for i, c in enumerate(kept)
    )


def _standing(candidate: Candidate, chance: float, on: bool, winners: tuple[Candidate, ...], remark: str) -> Standing:
    return Standing(
        candidate=candidate,
        probability=chance,
        on_frontier=on,
        certain=chance >= CERTAIN and not remark,
        dominated_by=() if on else winners,
        remark=remark,
    )


def _remark(candidate: Candidate, speed: str, unsettled: bool) -> str:
    """Why the probability must not be taken at its word; empty when it may."""
    launches = min(len(launch_values(candidate, m)) for m in (speed, MEMORY))
    remarks: list[str] = []
    if launches < FEW_LAUNCHES:
        remarks.append(f"{launches} launch{'es' if launches > 1 else ''}: the spread between launches is not known")
    if unsettled:
        remarks.append("nobody is non-dominated in half of the draws: the noise is larger than the differences")
    return "; ".join(remarks)


def _speed_and_memory(candidates: Sequence[Candidate], speed: str) -> tuple[Array, Array]:
    fast = np.log([np.median(launch_values(c, speed)) for c in candidates])
    small = -np.log([np.median(launch_values(c, MEMORY)) for c in candidates])
    return fast, small


def _winners(kept: Sequence[Candidate], alive: Mask, points: Array, loss_margin: Array) -> list[tuple[Candidate, ...]]:
    """Who beats each candidate at the point estimates (nobody is named for those beaten outright)."""
    indices = np.flatnonzero(alive).tolist()
    winners: list[tuple[Candidate, ...]] = [() for _ in kept]
    for place, beaten in zip(indices, beaten_by(points, loss_margin), strict=True):
        winners[place] = tuple(kept[indices[j]] for j in beaten)
    return winners
