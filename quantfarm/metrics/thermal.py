"""How warm a device was when a run began to measure, how warm it became, and whether it held itself back for it."""

from __future__ import annotations

import re
from itertools import pairwise

from quantfarm.metrics.windows import looks, names, series, windows
from quantfarm.nouns import Measurement, Trace
from quantfarm.sensors import pick

#: A reading from so long before the first repetition still tells the temperature at its start (s).
FRESH_S = 5.0
#: Readings by which a device itself says that heat holds it back, from this value on.
THROTTLED = (
    (r"(throttled|soft_limit|gpu[0-9]+_hot)_flag", 1.0),
    (r"(thermal_status|sensor_status|thermal_pressure)_level", 1.0),
)
SPEED_LIMIT = "cpu_speed_limit_pct"


def measure(trace: Trace) -> list[Measurement]:
    """temperature_start, temperature_max (°C, of the reading that stands for the device: the remark names it) and
    throttled (% of the looks while measuring in which the device said that heat holds it back).

    Nothing of an unfinished trace, of one without sensors, and of repetitions whose time is not known.
    """
    measured = [*windows(trace, "prefill"), *windows(trace, "decode")]
    if not trace.finished or not measured:
        return []
    began, finished = min(w.began for w in measured), max(w.finished for w in measured)
    on_gpu = pick.on_gpu(str(trace.first("loaded").get("backend", "")))
    return [*_temperatures(trace, began, finished, on_gpu), *_throttled(trace, began, finished)]


def _temperatures(trace: Trace, began: int, finished: int, on_gpu: bool) -> list[Measurement]:
    name = pick.temperature(names(trace), on_gpu=on_gpu)
    readings = series(trace, name) if name else []
    found: list[Measurement] = []
    # The last one before, else the first one after: each at most a few seconds away.
    before = [c for t, c in readings if began - FRESH_S * 1e9 <= t <= began][-1:]
    after = [c for t, c in readings if began < t <= min(finished, began + FRESH_S * 1e9)][:1]
    if at_start := before or after:
        found.append(_celsius("temperature_start", at_start, name))
    if meanwhile := [c for t, c in readings if began <= t <= finished]:
        found.append(_celsius("temperature_max", meanwhile, name))
    return found


def _celsius(metric: str, values: list[float], name: str) -> Measurement:
    return Measurement(
        metric=metric, value=max(values), unit="°C", n=len(values), samples=tuple(values), remark=f"reading: {name}"
    )


def _throttled(trace: Trace, began: int, finished: int) -> list[Measurement]:
    """One answer for each moment that was asked at: yes if any reading says yes."""
    answers: dict[int, bool] = {}
    said: set[str] = set()
    for look in looks(trace):
        for name, value in look["values"].items():
            yes = _says(name, value)
            if yes is not None and began <= look["t"] <= finished:
                answers[look["t"]] = answers.get(look["t"], False) or yes
                said |= {name} if yes else set()
    remarks = [f"said by {', '.join(sorted(said))}"] if said else []
    remarks += _lowered(trace, began, finished)
    if not answers:
        return []
    values = tuple(100.0 * yes for _, yes in sorted(answers.items()))
    share = sum(values) / len(values)
    remark = "; ".join(remarks)
    return [Measurement(metric="throttled", value=share, unit="%", n=len(values), samples=values, remark=remark)]


def _says(name: str, value: float) -> bool | None:
    """Whether a reading says that the device throttles; None: it is about something else."""
    if name == SPEED_LIMIT:
        return value < 100
    return next((value >= least for pattern, least in THROTTLED if re.fullmatch(pattern, name)), None)


def _lowered(trace: Trace, began: int, finished: int) -> list[str]:
    """Clocks whose limit the system lowered meanwhile: heat, or somebody's setting."""
    found: list[str] = []
    for name in names(trace):
        if not name.endswith("_limit_mhz"):
            continue
        limits = [mhz for t, mhz in series(trace, name) if began <= t <= finished]
        if any(b < a for a, b in pairwise(limits)):
            found.append(f"{name} lowered from {max(limits):.0f} to {min(limits):.0f}")
    return found
