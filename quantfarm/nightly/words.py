"""A verdict in words: levels with unit and interval, percent, how it was confirmed. For every way of telling.

Names of models, devices and versions are data of others: control characters go, and lengths are bounded.
"""

from __future__ import annotations

import unicodedata

from quantfarm.nightly.verdicts import Confirmation, Level, Verdict
from quantfarm.report.figures import NAMES, decimals, plural, share

#: The longest name, reason or command that is told whole.
LONGEST = 300
#: Decimal places, however narrow an interval is.
MOST_PLACES = 9
#: Units that are said otherwise than they are written in the files.
UNITS = {"tok/s": "tokens/s"}
SIMULATED = "simulated, not measured"


def clean(text: str, longest: int = LONGEST) -> str:
    """One line without control or direction characters, at most so many characters."""
    spaced = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    line = " ".join("".join(c for c in spaced if unicodedata.category(c) not in ("Cf", "Cs", "Co")).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def series(verdict: Verdict) -> str:
    """`desk: token generation (bench_tg) of reference Q4_K_M, llama_cpp, bench pp512 tg128`."""
    key = verdict.series
    metric = f"{NAMES[key.metric]} ({key.metric})" if key.metric in NAMES else key.metric
    told = f"{key.device}: {metric} of {key.model} {key.variant}, {key.runtime}, {key.workload}"
    return clean(told) + (f" [{SIMULATED}]" if verdict.simulated else "")


def level(one: Level) -> str:
    """`47.2 tokens/s (46.9–47.5, n = 30)`; without an interval where there are too few values for one."""
    if one.low is None or one.high is None:
        places, between = decimals(one.value, 4), ""
    else:
        places = min(max(decimals(one.value, 4), decimals(one.high - one.low, 2)), MOST_PLACES)
        between = f"{one.low:.{places}f}–{one.high:.{places}f}, "
    return f"{one.value:.{places}f} {unit(one)}".strip() + f" ({between}n = {one.n})"


def unit(one: Level) -> str:
    return clean(UNITS.get(one.unit, one.unit), 40)


def percent(ratio: float | None) -> str:
    return share(ratio - 1) if ratio is not None else ""


def change(verdict: Verdict) -> str:
    """`47.2 tokens/s (…) → 43.0 tokens/s (…): -8.9 %`, or what there is of it."""
    levels = [level(one) for one in (verdict.old, verdict.new) if one is not None]
    return " → ".join(levels) + (f": {percent(verdict.ratio)}" if verdict.ratio is not None else "")


def when(verdict: Verdict) -> str:
    """`2026-11-10 (last good 2026-11-09)`."""
    first = clean(verdict.first_bad or verdict.night, 40)
    return first + (f" (last good {clean(verdict.last_good, 40)})" if verdict.last_good else "")


def suspect(verdict: Verdict) -> str:
    """The suspect change in words; each recorded difference where nobody put it in words."""
    if verdict.suspect:
        return clean(verdict.suspect)
    if verdict.changed:
        pairs = (f"{name} {old or '–'} → {new or '–'}" for name, (old, new) in verdict.changed.items())
        return clean(", ".join(pairs))
    return "nothing that is recorded changed"


def confirmed(one: Confirmation | None) -> str:
    """`10 interleaved pairs of old and new: -8.7 % (-9.2 % to -8.1 %), p = 0.002`."""
    if one is None:
        return "not measured again"
    ways = {
        "interleaved": f"{plural(one.n, 'interleaved pair')} of old and new",
        "repeat": f"the new measured again, {plural(one.n, 'launch', 'launches')}",
    }
    interval = f" ({percent(one.low)} to {percent(one.high)})" if one.low is not None and one.high is not None else ""
    return f"{ways.get(one.how, clean(one.how))}: {percent(one.ratio)}{interval}, p = {one.p:.2g}"


def build_changed(verdict: Verdict) -> bool:
    """Whether another build of the runtime is the suspect: what a bisection can look through."""
    if verdict.old and verdict.new and verdict.old.build and verdict.new.build:
        return verdict.old.build != verdict.new.build
    return "build" in verdict.changed
