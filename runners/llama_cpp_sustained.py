"""Sustained load: the same generation back to back until its rate is steady; a part of runners/llama_cpp.py.

That runner loads this file and gives itself to `kinds`. What follows from rates alone (`until_steady`, `is_steady`)
needs neither it nor anything but the standard library, so that other runners can load it too. The same rule with
its reasons is quantfarm/statistics/steady.py.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

TOLERANCE = 0.02
SIGMAS = 3.0
MAD_TO_SIGMA = 1.4826
Z = 1.959963984540054
FEWEST = 10


def is_steady(rates: Sequence[float]) -> bool:
    """Whether the rates of back-to-back runs have become steady."""
    n = len(rates)
    if n < FEWEST or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        return False
    k = min(range(n // 2 + 1), key=lambda cut: _variance(rates[cut:]) / (n - cut))
    kept = rates[k:]
    middle = median(kept)
    spread = MAD_TO_SIGMA * median([abs(rate - middle) for rate in kept]) / middle
    slope, low, high = _theil_sen(kept)
    drift = slope * (len(kept) - 1) / middle
    drifts = abs(drift) > max(TOLERANCE, SIGMAS * spread) or ((low > 0 or high < 0) and abs(drift) > TOLERANCE)
    last = sum(kept[-3:]) / 3 / middle - 1
    return k < n // 2 and not drifts and not abs(last) > max(TOLERANCE, SIGMAS * spread / math.sqrt(3))


def _variance(values: Sequence[float]) -> float:
    """About the first value: of equal ones exactly 0."""
    apart = [value - values[0] for value in values]
    mean = sum(apart) / len(apart)
    return sum((one - mean) * (one - mean) for one in apart) / len(apart)


def _theil_sen(values: Sequence[float]) -> tuple[float, float, float]:
    """The median slope and its 95 % interval (Sen 1968)."""
    n = len(values)
    slopes = sorted((values[j] - values[i]) / (j - i) for i in range(n) for j in range(i + 1, n))
    ties = [count for count in Counter(values).values() if count > 1]
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    width = Z * math.sqrt(variance)
    low = max(round((len(slopes) - width) / 2) - 1, 0)
    high = min(round((len(slopes) + width) / 2), len(slopes) - 1)
    return median(slopes), slopes[low], slopes[high]


def until_steady(once: Callable[[int], float], runs: int, more: int, most: int) -> int:
    """Calls `once(run)` (it gives the run's rate) `runs` times, then `more` times again until the rates are
    steady or `most` were made. How many were made."""
    rates = [once(run) for run in range(min(runs, most))]
    while len(rates) < most and not is_steady(rates):
        rates += [once(run) for run in range(len(rates), min(len(rates) + more, most))]
    return len(rates)


def expected(run: int, runs: int, more: int, most: int) -> int:
    """How many runs there will be as far as is known in this one."""
    rounds = max(0, math.ceil((run + 1 - runs) / more))
    return min(most, runs + rounds * more)


def rate(times: Sequence[int]) -> float:
    """(N - 1) / (t_N - t_1) in tokens per second of times in ns; not a number for fewer than two tokens."""
    if len(times) < 2 or times[-1] == times[0]:
        return math.nan
    return (len(times) - 1) / ((times[-1] - times[0]) / 1e9)


def kinds(core: Any) -> dict[str, Callable[[Any], None]]:
    """The kind `sustained`. `core`: the module of runners/llama_cpp.py."""

    def sustained(session: Any) -> None:
        n_prompt, n_gen = session.number("n_prompt"), session.number("n_gen", 2)
        counts = {name: session.number(name) for name in ("runs", "more", "most")}
        context, events = session.context(n_prompt + n_gen), session.events
        ids, facts = core.prompt_ids(session.model, n_prompt)
        events.emit("tokens", **facts)
        prompt = core.prompt_batches(ids, int(session.request["n_batch"]))
        sampler = core.C.llama_sampler_init_greedy()
        core.generate(context, prompt, 2, sampler)
        events.emit("warmup", phase="app")
        events.emit("sustained", n_prompt=n_prompt, n_gen=n_gen, **counts)

        def once(run: int) -> float:
            submit, times = core.generate(context, prompt, n_gen, sampler)
            seconds = (times[0] - submit) / 1e9
            # Written at once: a run is long, and what one event costs is far below the half second allowed between two.
            events.emit("prefill", mode="app", repetition=run, tokens=n_prompt, depth=0, seconds=seconds)
            events.emit("decode", mode="app", repetition=run, submit=submit, times=times)
            events.emit("progress", done=run + 1, of=expected(run, **counts), what="runs")
            return rate(times)

        until_steady(once, **counts)
        context.free()

    return {"sustained": sustained}
