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
from quantfarm.statistics.columns import Column, column
from quantfarm.statistics.comparable import reasons_against
from quantfarm.statistics.dominance import QUALITY_SES, Array, Mask
from quantfarm.statistics.many import remaining, remaining_winners
from quantfarm.statistics.margins import Margins
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
    columns = {m: column(candidates, m) for m in (speed, MEMORY, quality)} if candidates else {}
    reasons = reasons_against(candidates, columns, speed, quality) if candidates else []
    comparable = np.flatnonzero([not reason for reason in reasons])
    kept = [candidates[i] for i in comparable.tolist()]
    return Frontier(
        standings=_standings(
            kept, columns[speed].of(comparable), columns[MEMORY].of(comparable), quality, speed, draws, seed
        )
        if kept
        else (),
        left_out=tuple((c, reason) for c, reason in zip(candidates, reasons, strict=True) if reason),
        quality=quality,
        speed=speed,
        draws=draws,
        seed=seed,
    )


def _standings(
    kept: Sequence[Candidate], fast: Column, small: Column, quality: str, speed: str, draws: int, seed: int
) -> tuple[Standing, ...]:
    alive = not_outright_beaten(kept, fast, small, quality)
    some = [kept[i] for i in np.flatnonzero(alive).tolist()]
    loss = losses(some, quality, draws, seed, QUALITY_SES)
    axes = np.empty((len(some), 3, draws))  # one's draws lie together
    for own, candidate in zip(axes, some, strict=True):
        own[0] = log_medians(candidate, speed, draws, seed)
        own[1] = -log_medians(candidate, MEMORY, draws, seed)
    axes[:, 2] = -loss.drawn.T
    points = axes.transpose(2, 0, 1)
    chance = np.zeros(len(kept))
    chance[alive] = remaining(points, loss.margins).mean(axis=0)
    winners = _winners(kept, alive, np.stack([*_speed_and_memory(some, speed), -loss.estimate], axis=1), loss.margins)
    on = chance >= ON_FRONTIER
    unsettled = not on.any()
    if unsettled:  # every draw has somebody left: the noise is larger than the differences
        on = chance >= chance.max()
    launches = np.minimum(fast.launches, small.launches).tolist()
    remarks = {n: _remark(n, unsettled) for n in set(launches)}
    rows = zip(kept, chance.tolist(), on.tolist(), winners, [remarks[n] for n in launches], strict=True)
    return tuple(
        Standing(
            candidate=candidate,
            probability=probability,
            on_frontier=is_on,
            certain=probability >= CERTAIN and not remark,
            dominated_by=() if is_on else beaten_by_those,
            remark=remark,
        )
        for candidate, probability, is_on, beaten_by_those, remark in rows
    )


def _remark(launches: int, unsettled: bool) -> str:
    """Why the probability must not be taken at its word; empty when it may."""
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


def _winners(kept: Sequence[Candidate], alive: Mask, points: Array, margins: Margins) -> list[tuple[Candidate, ...]]:
    """Who beats each candidate at the point estimates (nobody is named for those beaten outright)."""
    indices = np.flatnonzero(alive).tolist()
    winners: list[tuple[Candidate, ...]] = [() for _ in kept]
    for place, beaten in zip(indices, remaining_winners(points, margins), strict=True):
        winners[place] = tuple(kept[indices[j]] for j in beaten)
    return winners
