"""A change that the nights suggest: what measuring again must confirm before anybody hears of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quantfarm.nightly.metrics import ratio
from quantfarm.nightly.points import WITH_ARTIFACT, WITH_BUILD, Point
from quantfarm.nightly.series import SeriesKey
from quantfarm.nightly.verdicts import Level
from quantfarm.statistics.summary import summarise

NOTHING = "nothing that is recorded changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the watch list asks of judging; `p`, `min_points`: METHOD §5."""

    window: int = 30
    magnitude: float = 0.03
    alert: float = 0.02
    p: float = 1e-4
    min_points: int = 3

    @property
    def least(self) -> int:
        """Nights that it takes to compare."""
        return 2 * self.min_points


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """`before` and `after`: the nights of the old and the new level, in order. `p` by the detector, None for a fork.

    `changed`: what differs between them of what is recorded, name -> (was, is): not empty where the series forked.
    """

    series: SeriesKey
    night: str
    before: tuple[Point, ...]
    after: tuple[Point, ...]
    p: float | None = None
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])

    @property
    def first_bad(self) -> str:
        return self.after[0].night

    @property
    def last_good(self) -> str:
        return self.before[-1].night

    @property
    def old(self) -> Level:
        return level(self.before)

    @property
    def new(self) -> Level:
        return level(self.after)

    @property
    def ratio(self) -> float | None:
        return ratio(self.old.value, self.new.value)

    @property
    def simulated(self) -> bool:
        return any(point.simulated for point in (*self.before, *self.after))

    @property
    def by_build(self) -> bool:
        """Whether a build or a file is all that changed, so that old and new can be measured side by side."""
        return bool({"build", *WITH_ARTIFACT} & self.changed.keys()) and self.changed.keys() <= (
            WITH_BUILD | WITH_ARTIFACT
        )

    @property
    def suspect(self) -> str:
        return suspect(self.changed)


def level(points: Sequence[Point]) -> Level:
    """Where these nights stand: their median."""
    found = summarise([point.value for point in points])
    last = points[-1]
    return Level(
        value=found.value,
        unit=last.unit,
        low=found.low,
        high=found.high,
        n=found.n,
        nights=(points[0].night, last.night),
        cell=last.cell,
        build=last.build,
    )


def suspect(changed: Mapping[str, tuple[str, str]]) -> str:
    """`runtime llama-cpp-python 0.3.35 → 0.3.36`; what a build brings with it is not told beside it."""
    if not changed:
        return NOTHING
    told = [_told(name, *changed[name]) for name in changed if "build" not in changed or name not in WITH_BUILD]
    if "build" in changed:
        told.insert(0, f"runtime {_shortened(*changed['build'])}")
    return "; ".join(told)


def _told(name: str, was: str, now: str) -> str:
    if name in WITH_ARTIFACT:
        return f"the model's file {was[:12] or 'none'} → {now[:12] or 'none'}"
    return f"{name.replace('_', ' ')} {_differing(was, now)}"


def _shortened(was: str, now: str) -> str:
    """`llama-cpp-python 0.3.35 → 0.3.36`: a name that stays is told once."""
    name, _, version = now.rpartition(" ")
    return f"{was} → {version}" if name and was.startswith(f"{name} ") else f"{was or 'none'} → {now or 'none'}"


def _differing(was: str, now: str) -> str:
    """Of two lists of settings, those that differ."""
    old, new = was.split(", "), now.split(", ")
    if len(old) > 1 or len(new) > 1:
        was = ", ".join(one for one in old if one not in new)
        now = ", ".join(one for one in new if one not in old)
    return f"{was or 'none'} → {now or 'none'}"
