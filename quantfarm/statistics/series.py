"""A series of nights, and where it forks: values taken under other circumstances are not compared.

A new OS, driver, runtime version or parameter is no regression. So a series falls into segments of equal
attributes, and changes are looked for within each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from quantfarm.statistics.changes import ChangePoint, Settings, change_points


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One value of a series; `run` names it (a number, a date), `attributes` say under what it was measured."""

    run: str
    value: float
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Nights in a row with equal attributes, from `start` in the series; `forked`: what was and what it became."""

    start: int
    nights: Sequence[Night]
    attributes: Mapping[str, str]
    forked: Mapping[str, tuple[str, str]]


def segments(nights: Sequence[Night], labels: Collection[str] = ()) -> list[Segment]:
    """Where attributes other than `labels` change, a segment begins. One that is not there counts as empty."""
    found: list[Segment] = []
    start, now = 0, _circumstances(nights[0], labels) if nights else {}
    forked: Mapping[str, tuple[str, str]] = {}
    for at in range(1, len(nights) + 1):
        following = _circumstances(nights[at], labels) if at < len(nights) else None
        if following != now:
            found.append(Segment(start=start, nights=nights[start:at], attributes=now, forked=forked))
            forked = _differences(now, following or {})
            start, now = at, following or {}
    return found


def _circumstances(night: Night, labels: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in night.attributes.items() if value and name not in labels}


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    names = [*before, *(name for name in after if name not in before)]
    pairs = {name: (before.get(name, ""), after.get(name, "")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def changes_in(segment: Segment, settings: Settings | None = None) -> list[ChangePoint]:
    """The changes within a segment; their indices count from the series' beginning."""
    found = change_points([night.value for night in segment.nights], settings)
    return [replace(one, index=one.index + segment.start) for one in found]
