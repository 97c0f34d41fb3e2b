"""The start gate (METHOD §4): a measurement begins on a device that is as cool as at rest, and runs from its battery.

Pure: it is given what was read and says what to do. Somebody else reads, waits and asks again.
What waiting cannot mend (no sensor, plugged in, an empty battery) is a flag on the result at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import median

from quantfarm.nouns import Idle

WITHIN_C = 2.0  # of the idle baseline
FLAT_C_PER_MIN = 0.2
#: The slope is taken over this time (s), once readings cover most of it.
WINDOW_S = 60.0
COVERED = 0.8
FEWEST = 5
LIMIT_S = 900.0
BATTERY_PCT = (40.0, 90.0)
#: What a resting device's battery may fall by while the gate waits: a fuller one is not waited for.
FALLS_PCT = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a device read at one moment; `t_s` of any clock that goes on evenly. None: not known."""

    t_s: float
    temperature_c: float | None = None
    power_w: float | None = None
    battery_pct: float | None = None
    discharging: bool | None = None  # None: no battery, or it does not say
    plugged: bool | None = None


class Answer(StrEnum):
    READY = "ready"
    WAIT = "wait"
    GIVE_UP = "give up"  # start all the same, and say `hot_start`


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`awaited`: why it waits, or what did not come. `flags`: what a reader of the figures must know and waiting
    cannot mend. `hot_start`: the device is warmer than at rest, or still changing, and starts all the same."""

    answer: Answer
    awaited: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def hot_start(self) -> bool:
        return self.answer is Answer.GIVE_UP


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """`baseline`: what the device reads at rest, from its profile. `battery`: whether the battery's rule holds
    (a device without one is not asked). `flat`: whether a flat minute is asked for as well (sustained runs; before
    a short one it would cost more than the run). `limit_s`: the longest that it waits."""

    baseline: Idle | None = None
    battery: bool = True
    flat: bool = True
    limit_s: float = LIMIT_S

    def judge(self, readings: Sequence[Reading], waited_s: float) -> Verdict:
        """What to do after these readings, oldest first (those from before the waiting count, too)."""
        awaited, flags = _temperature(self.baseline, readings, self.flat)
        if self.battery and (last := _last_battery(readings)):
            more_awaited, more_flags = _battery(last)
            awaited, flags = awaited + more_awaited, flags + more_flags
        if not awaited:
            return Verdict(answer=Answer.READY, flags=tuple(flags))
        answer = Answer.GIVE_UP if waited_s >= self.limit_s else Answer.WAIT
        return Verdict(answer=answer, awaited=tuple(awaited), flags=tuple(flags))


Told = tuple[list[str], list[str]]  # (what is awaited, flags)


def _last_battery(readings: Sequence[Reading]) -> Reading | None:
    """The latest reading of a battery; its sensor is another than the thermometer's."""
    told = (r for r in reversed(readings) if (r.battery_pct, r.discharging, r.plugged) != (None, None, None))
    return next(told, None)


def _temperature(baseline: Idle | None, readings: Sequence[Reading], flat: bool) -> Told:
    known = [r for r in readings if r.temperature_c is not None]
    if not known:
        return ([], ["no temperature can be read"]) if readings else (["a first reading"], [])
    awaited, flags = list[str](), list[str]()
    unsteady = unflat(known)
    if unsteady and flat:
        awaited.append(unsteady)
    rest = baseline.temperature_c if baseline else None
    now = middle(known)
    if rest is None:
        flags.append("no idle baseline" + (": only flatness could be waited for" if flat else ""))
    elif now > rest + WITHIN_C:
        awaited.insert(0, f"cooling: {now:.1f} °C, at rest {rest:.1f} °C")
    elif now < rest - WITHIN_C and not unsteady:
        flags.append(f"idle baseline out of date: {now:.1f} °C, {rest:.1f} °C when it was taken")
    return awaited, flags


def _battery(now: Reading) -> Told:
    """Level 40 to 90 % and discharging. Only a level that falls into the range by itself is waited for."""
    if now.battery_pct is None and now.discharging is None:
        return [], []
    awaited, flags = list[str](), list[str]()
    discharging = now.discharging is True and not now.plugged
    if not discharging:
        flags.append("not on battery: plugged in" if now.plugged else "not on battery: it is not discharging")
    low, high = BATTERY_PCT
    if now.battery_pct is None:
        flags.append("the battery's level cannot be read")
    elif now.battery_pct < low:
        flags.append(f"battery at {now.battery_pct:.0f} %, below {low:.0f} %")
    elif now.battery_pct > high:
        text = f"battery at {now.battery_pct:.0f} %, above {high:.0f} %"
        (awaited if discharging and now.battery_pct <= high + FALLS_PCT else flags).append(text)
    return awaited, flags


def window(readings: Sequence[Reading]) -> list[Reading]:
    """The readings of the last minute that have a temperature."""
    known = [r for r in readings if r.temperature_c is not None]
    return [r for r in known if r.t_s >= known[-1].t_s - WINDOW_S]


def middle(readings: Sequence[Reading]) -> float:
    """The median of the last few readings (a tenth of the window): one odd reading is not the device's."""
    last = [r for r in readings if r.t_s >= readings[-1].t_s - WINDOW_S / 10]
    return median(r.temperature_c for r in last if r.temperature_c is not None)


def unflat(readings: Sequence[Reading]) -> str:
    """Why the last minute is not flat (or not yet a minute); empty when it is."""
    last = window(readings)
    covered = last[-1].t_s - last[0].t_s if last else 0.0
    if len(last) < FEWEST or covered < COVERED * WINDOW_S:
        return f"a minute of readings: {covered:.0f} s of {len(last)} so far"
    return changing(last)


def changing(readings: Sequence[Reading]) -> str:
    """How these readings rise or fall; empty where they are flat, or are as flat as a coarse sensor can show."""
    slope = slope_c_per_min(readings)
    if abs(slope) < FLAT_C_PER_MIN or _one_step(readings):
        return ""
    return f"{'falling' if slope < 0 else 'rising'} {abs(slope):.1f} °C/min"


def slope_c_per_min(readings: Sequence[Reading]) -> float:
    """Least squares over the readings; 0 where all are of one moment."""
    points = [(r.t_s / 60, r.temperature_c) for r in readings if r.temperature_c is not None]
    t_mean = sum(t for t, _ in points) / len(points)
    c_mean = sum(c for _, c in points) / len(points)
    spread = sum((t - t_mean) ** 2 for t, _ in points)
    return sum((t - t_mean) * (c - c_mean) for t, c in points) / spread if spread else 0.0


def _one_step(readings: Sequence[Reading]) -> bool:
    """Whether the readings are of two neighbouring steps of a coarse sensor: it cannot show less, and one that
    toggles between them at rest would never seem flat. Coarse: of whole or half degrees."""
    seen = sorted({r.temperature_c for r in readings if r.temperature_c is not None})
    step = min((b - a for a, b in pairwise(seen)), default=0.0)
    coarse = all((2 * c).is_integer() for c in seen)
    return coarse and seen[-1] - seen[0] <= min(step, 1.0)


def idle(readings: Sequence[Reading], *, reading: str = "", measured_at: str = "") -> Idle:
    """The baseline of a device that has been at rest: medians of the last minute. Ask `restless` whether it was.

    `reading` is the name of the temperature, `measured_at` when (ISO 8601, UTC).
    """
    temperatures = [r.temperature_c for r in window(readings) if r.temperature_c is not None] if readings else []
    powers = [r.power_w for r in readings if r.power_w is not None and r.t_s >= readings[-1].t_s - WINDOW_S]
    return Idle(
        temperature_c=median(temperatures) if temperatures else None,
        reading=reading if temperatures else "",
        power_w=median(powers) if powers else None,
        measured_at=measured_at,
    )


def restless(readings: Sequence[Reading]) -> str:
    """Why these readings are no minute at rest; empty when they are, and for a device that reads no temperature."""
    known = [r for r in readings if r.temperature_c is not None]
    return unflat(known) if known or not readings else ""
