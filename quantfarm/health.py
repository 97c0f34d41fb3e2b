"""What state a device is in, who may change it, and when a canary says that the device has drifted.

    registered → checking → ready ⇄ busy
                    ↓  ↑        ↓
              unhealthy, quarantined          retired

Work is given to a device that is ready (or busy: its lease makes the work wait) and to no other.
A device goes unhealthy when it cannot be reached or does not start, is quarantined when that happens
three times in a row or when a canary drifts from the device's own history, and comes back through a
check alone: three clean canaries in a row. One that a person quarantined waits for that person.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from quantfarm.errors import UsageError

#: Failures in a row that turn unhealthy into quarantined.
FAILURES = 3
#: Clean canaries in a row that readmit a device.
READMITTED_AFTER = 3
#: Canaries that drift is judged by: at least, at most (the latest).
HISTORY = (5, 20)
#: A figure this much worse than the median is drift, or four robust standard deviations where that is more.
SLOWER = 0.10
#: Relative difference of perplexity that no healthy backend shows (METHOD §6, across backends).
PERPLEXITY = 1e-3


class DeviceState(StrEnum):
    REGISTERED = "registered"
    CHECKING = "checking"
    READY = "ready"
    BUSY = "busy"
    UNHEALTHY = "unhealthy"
    QUARANTINED = "quarantined"
    RETIRED = "retired"


class By(StrEnum):
    FARM = "farm"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of state: a row that stays. `failures`: how many in a row have brought the device here."""

    device: str
    before: DeviceState | None  # None: it was not known
    to: DeviceState
    reason: str
    by: By
    at: str  # ISO 8601, UTC, the controller's clock
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One short measurement that says whether the device is still the one it was.

    `series`: canaries are compared within it; it changes with the device's system, driver, the runtime's
    build, what is measured, and when the device is registered again. `spell`: the number of the transition
    under which it ran. `figures`: bench_pp and bench_tg in tok/s, ppl where the runtime can.
    """

    device: str
    at: str
    series: str
    runtime: str
    build: str
    clean: bool
    why: str = ""  # what was wrong
    spell: int = 0
    figures: Mapping[str, float]
    conditions: Mapping[str, object]


S = DeviceState
_FARM, _PERSON, _BOTH = frozenset({By.FARM}), frozenset({By.PERSON}), frozenset({By.FARM, By.PERSON})

#: (from any of these, to any of these, who may). What is not here is no transition.
_TABLE: tuple[tuple[tuple[DeviceState | None, ...], tuple[DeviceState, ...], frozenset[By]], ...] = (
    ((None, S.RETIRED), (S.REGISTERED,), _BOTH),
    # A check begins; also where the one before it, or the work, was cut off.
    ((S.REGISTERED, S.READY, S.UNHEALTHY, S.QUARANTINED, S.CHECKING, S.BUSY), (S.CHECKING,), _BOTH),
    # How a check ends; as it was before where it was given up.
    ((S.CHECKING,), (S.REGISTERED, S.READY, S.UNHEALTHY), _FARM),
    # Work begins and ends; also where the work before was cut off.
    ((S.READY, S.BUSY), (S.BUSY,), _FARM),
    ((S.BUSY,), (S.READY, S.UNHEALTHY), _FARM),
    # It could not be reached: seen by whoever tried, and several may.
    ((S.REGISTERED, S.READY, S.UNHEALTHY), (S.UNHEALTHY,), _FARM),
    ((S.CHECKING, S.BUSY, S.UNHEALTHY, S.QUARANTINED), (S.QUARANTINED,), _BOTH),
    ((S.REGISTERED, S.READY), (S.QUARANTINED,), _PERSON),
    ((S.QUARANTINED,), (S.REGISTERED,), _PERSON),  # released
    (tuple(s for s in S if s is not S.RETIRED), (S.RETIRED,), _PERSON),
)
LEGAL: Mapping[tuple[DeviceState | None, DeviceState], frozenset[By]] = {
    (before, to): who for befores, tos, who in _TABLE for before in befores for to in tos
}


def schedulable(state: DeviceState | None) -> bool:
    """Whether work may be planned on it. None: a device that was never registered has no state to be bad."""
    return state in (None, S.READY, S.BUSY)


def held(rows: Sequence[Transition]) -> bool:
    """Whether a person has quarantined it: the farm itself then changes nothing."""
    return bool(rows) and rows[-1].to is S.QUARANTINED and rows[-1].by is By.PERSON


def settled(rows: Sequence[Transition]) -> DeviceState | None:
    """The state that the device was in before the check in hand; its state where there is none in hand."""
    return next((row.to for row in reversed(rows) if row.to not in (S.CHECKING, S.BUSY)), None)


def clean_needed(rows: Sequence[Transition]) -> int:
    """Clean canaries in a row that the check in hand needs before the device is ready.

    None for one that was ready before: a check of it that is given up changes nothing.
    """
    return {S.READY: 0, S.REGISTERED: 1}.get(settled(rows) or S.UNHEALTHY, READMITTED_AFTER)


def clean_streak(rows: Sequence[Transition], canaries: Sequence[Canary]) -> int:
    """Clean canaries in a row in the check in hand."""
    streak = 0
    for canary in reversed(canaries):
        if canary.spell != len(rows) or not canary.clean:
            break
        streak += 1
    return streak


def obstacle(rows: Sequence[Transition], to: DeviceState, by: By, canaries: Sequence[Canary] = ()) -> str:
    """Why this change may not be; empty when it may."""
    before = rows[-1].to if rows else None
    known = before or "not registered"
    if by not in LEGAL.get((before, to), frozenset()):
        asked = "" if not LEGAL.get((before, to)) else f" {by} may not do that:"
        return f"it is {known}:{asked} from there it can become {', '.join(_next(before, by)) or 'nothing'}"
    if held(rows) and by is By.FARM:
        return f"it was quarantined by a person ({rows[-1].reason}): only `quantfarm device release` ends that"
    if held(rows) and to is S.CHECKING:
        return f"it was quarantined by a person ({rows[-1].reason}): release it first"
    if (before, to) == (S.CHECKING, S.READY):
        needed, streak = clean_needed(rows), clean_streak(rows, canaries)
        if streak < needed:
            return f"{streak} of {needed} clean canaries in a row"
    if (before, to) == (S.CHECKING, S.REGISTERED) and settled(rows) is not S.REGISTERED:
        return f"it was {settled(rows)} before the check, not registered"
    return ""


class NotAllowed(UsageError):
    """A change of state that may not be."""


def transition(
    device: str,
    rows: Sequence[Transition],
    to: DeviceState,
    reason: str,
    by: By,
    at: str,
    *,
    canaries: Sequence[Canary] = (),
    failed: bool = False,
) -> Transition:
    """The next row of a device; `failed`: it could not be reached or did not start. Raises NotAllowed."""
    if not (said := one_line(reason)):
        raise NotAllowed(f"{device}: a change of state needs a reason")
    if why := obstacle(rows, to, by, canaries):
        raise NotAllowed(f"{device} cannot become {to}: {why}")
    count = failures(rows, to, failed)
    if to is S.UNHEALTHY and count >= FAILURES:
        raise NotAllowed(f"{device} cannot become {to}: after {count} failures in a row it is {S.QUARANTINED}")
    before = rows[-1].to if rows else None
    return Transition(device=device, before=before, to=to, reason=said, by=by, at=at, failures=count)


def one_line(text: str, limit: int = 500) -> str:
    """Printable text of one line: a reason may be what a device said."""
    shown = "".join(c if c.isprintable() else " " for c in text[: 4 * limit])
    return " ".join(shown.split())[:limit]


def _next(before: DeviceState | None, by: By) -> list[str]:
    return sorted(to for (here, to), who in LEGAL.items() if here == before and by in who)


def failures(rows: Sequence[Transition], to: DeviceState, failed: bool) -> int:
    """The count of failures in a row that a new row carries: kept until the device is ready or registered anew."""
    if to in (S.READY, S.REGISTERED, S.RETIRED):
        return 0
    return (rows[-1].failures if rows else 0) + (1 if failed else 0)


def after_failure(rows: Sequence[Transition]) -> DeviceState:
    """Where a device goes that could not be reached or did not start: the third time in a row it is quarantined."""
    again = failures(rows, S.UNHEALTHY, failed=True) >= FAILURES
    return S.QUARANTINED if again or (rows and settled(rows) is S.QUARANTINED) else S.UNHEALTHY


def history(canaries: Sequence[Canary], series: str) -> list[Canary]:
    """The clean canaries of a series that the next one is compared with, oldest first; not those that began hot."""
    cool = (canary for canary in canaries if canary.clean and not canary.conditions.get("hot_start"))
    return [canary for canary in cool if canary.series == series][-HISTORY[1] :]


def drift(figures: Mapping[str, float], before: Sequence[Canary]) -> str:
    """How a canary's figures differ from the device's own history; empty where they do not, or too few are known."""
    for name, value in figures.items():
        known = [canary.figures[name] for canary in before if name in canary.figures]
        if len(known) >= HISTORY[0] and (said := _differs(name, value, known)):
            return f"{said} (the median of {len(known)} clean canaries)"
    return ""


def _differs(name: str, value: float, known: Sequence[float]) -> str:
    middle = statistics.median(known)
    if middle <= 0:
        return ""
    if name == "ppl":
        return unlike(value, middle)
    spread = 1.4826 * statistics.median([abs(one - middle) for one in known]) / middle
    limit = max(SLOWER, 4 * spread)
    if value < middle * (1 - limit):
        slower = 100 * (1 - value / middle)
        return f"{name} is {slower:.0f} % slower than its own {middle:.4g} tok/s, more than {100 * limit:.0f} %"
    return ""


def unlike(perplexity: float, expected: float) -> str:
    """How a perplexity differs from what it must be; empty where it does not."""
    difference = abs(perplexity / expected - 1)
    if difference <= PERPLEXITY:
        return ""
    return f"perplexity {perplexity:.6g} differs from {expected:.6g} by {difference:.1e}, more than {PERPLEXITY:g}"
