"""What a device should run, of what was measured on it, with the reason.

Policy (docs/decisions/0005-what-we-recommend.md): of the candidates that fit the memory allowed, decode as fast as is
asked and whose quality, PPL(F16) ÷ PPL(variant), is at least the one asked for, those on the Pareto frontier; of
these the fastest to decode. Within the 2 % margin of speed, the one with less memory; within its 1 % margin, the
better quality. When nothing satisfies all wishes, nothing is recommended: the sentence says which wish
removed what, and what would satisfy it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from quantfarm.candidates import Candidate
from quantfarm.decide import wording
from quantfarm.decide.wishes import MIN_QUALITY, Wishes
from quantfarm.statistics.dominance import MEMORY_MARGIN, SPEED_MARGIN
from quantfarm.statistics.frontier import Frontier, Standing, pareto
from quantfarm.statistics.increase import base_of, increase
from quantfarm.statistics.resample import MEMORY, SPEED, key


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """`chosen` is None when nothing measured satisfies the wishes; `reason` then says what would.

    `probability`: that the chosen one is non-dominated; `certain`: from 0.95, with enough launches to know.
    `quality`: PPL(F16) ÷ PPL(chosen), None where it could not be told.
    """

    chosen: Candidate | None
    reason: str
    runner_up: Candidate | None = None
    why_not_runner_up: str = ""
    excluded: tuple[tuple[Candidate, str], ...] = ()
    quality: float | None = None
    probability: float | None = None
    certain: bool = False
    remarks: tuple[str, ...] = ()
    reproduce: str = ""
    wishes: Wishes = field(default_factory=Wishes)


def recommend(
    candidates: Sequence[Candidate],
    *,
    max_ram_mib: float | None = None,
    min_quality: float = MIN_QUALITY,
    min_speed: float = 0.0,
    draws: int = 2000,
    seed: int = 0,
) -> Recommendation:
    """The default for one device and model. Raises ValueError for candidates of several."""
    wishes = Wishes(max_ram_mib=max_ram_mib, min_quality=min_quality, min_speed=min_speed)
    frontier = pareto(candidates, draws=draws, seed=seed)
    quality = {key(c): _quality(c, candidates) for c in candidates}
    against = {key(c): why for c, why in frontier.left_out}
    against |= {
        key(c): why for c in candidates if key(c) not in against and (why := _unmet(c, quality[key(c)], wishes))
    }
    fitting = [c for c in candidates if key(c) not in against]
    if not fitting:
        return _nothing(candidates, frontier, quality, against, wishes)
    pool, frontier = _pool(fitting, frontier, draws, seed)
    ranked = _ranked(pool, quality)
    return _chosen(ranked, frontier, quality, _excluded(candidates, against, frontier), wishes)


def _quality(candidate: Candidate, candidates: Sequence[Candidate]) -> float | None:
    """PPL(F16) ÷ PPL(candidate); None where there is no comparable F16."""
    base = base_of(candidates, candidate.runtime)
    loss = increase(candidate, base) if base else None
    return math.exp(-loss.nats) if loss else None


def _unmet(candidate: Candidate, quality: float | None, wishes: Wishes) -> str:
    """Which wish a comparable candidate fails; empty when none."""
    memory, speed = candidate.figures[MEMORY].value, candidate.figures[SPEED].value
    reasons: list[str] = []
    if wishes.max_ram_mib is not None and not wishes.small(memory):
        reasons.append(wording.too_large(memory, wishes.max_ram_mib))
    if not wishes.fast(speed):
        reasons.append(wording.too_slow(speed, wishes.min_speed))
    if wishes.min_quality > 0 and quality is None:
        reasons.append("its quality cannot be told: no perplexity of the unquantized model on the same text")
    elif quality is not None and quality < wishes.min_quality:
        reasons.append(wording.too_bad(quality, wishes.min_quality))
    return " and ".join(reasons)


def _pool(fitting: Sequence[Candidate], frontier: Frontier, draws: int, seed: int) -> tuple[list[Candidate], Frontier]:
    """Members of the frontier that fit; where the whole frontier was removed, the frontier of what is left."""
    keys = {key(c) for c in fitting}
    pool = [s.candidate for s in frontier.members if key(s.candidate) in keys]
    if pool:
        return pool, frontier
    rest = pareto(fitting, draws=draws, seed=seed)
    return [s.candidate for s in rest.members], rest


def _ranked(pool: Sequence[Candidate], quality: dict[str, float | None]) -> list[Candidate]:
    """Best first: repeatedly the best of those that tie with the fastest one left."""
    left: list[Candidate] = sorted(pool, key=key)
    ranked: list[Candidate] = []
    while left:
        fastest = max(c.figures[SPEED].value for c in left)
        quick = [c for c in left if c.figures[SPEED].value >= fastest * math.exp(-SPEED_MARGIN)]
        least = min(c.figures[MEMORY].value for c in quick)
        small = [c for c in quick if c.figures[MEMORY].value <= least * math.exp(MEMORY_MARGIN)]
        best = max(small, key=lambda c: (quality[key(c)] or 0.0, c.figures[SPEED].value))
        ranked.append(best)
        left = [c for c in left if c is not best]
    return ranked


def _excluded(
    candidates: Sequence[Candidate], against: dict[str, str], frontier: Frontier
) -> tuple[tuple[Candidate, str], ...]:
    """Everything that was not in the running, each with why."""
    beaten = {key(s.candidate): wording.beaten(s, frontier) for s in frontier.standings if not s.on_frontier}
    return tuple((c, why) for c in candidates if (why := against.get(key(c)) or beaten.get(key(c), "")))


def _chosen(
    ranked: Sequence[Candidate],
    frontier: Frontier,
    quality: dict[str, float | None],
    excluded: tuple[tuple[Candidate, str], ...],
    wishes: Wishes,
) -> Recommendation:
    best, second = ranked[0], ranked[1] if len(ranked) > 1 else None
    standing = frontier.of(best)
    assert standing is not None  # it came from there
    return Recommendation(
        chosen=best,
        reason=wording.reason(best, quality[key(best)], frontier, wishes),
        runner_up=second,
        why_not_runner_up=wording.why_not(second, best, quality[key(second)]) if second else "",
        excluded=excluded,
        quality=quality[key(best)],
        probability=standing.probability,
        certain=standing.certain,
        remarks=_remarks(standing),
        reproduce=best.reproduce,
        wishes=wishes,
    )


def _remarks(standing: Standing) -> tuple[str, ...]:
    figures = standing.candidate.remarks
    own = [f"{wording.METRICS[m]}: {figures[m]}" for m in (SPEED, MEMORY, "ppl") if figures.get(m)]
    return tuple(([standing.remark] if standing.remark else []) + own)


def _nothing(
    candidates: Sequence[Candidate],
    frontier: Frontier,
    quality: dict[str, float | None],
    against: dict[str, str],
    wishes: Wishes,
) -> Recommendation:
    comparable = [s.candidate for s in frontier.standings]
    reason = wording.nothing(comparable, [quality[key(c)] for c in comparable], wishes)
    excluded = tuple((c, against[key(c)]) for c in candidates)
    return Recommendation(chosen=None, reason=reason, excluded=excluded, wishes=wishes)
