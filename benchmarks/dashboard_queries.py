"""What the dashboard asks of a large store, and how long each answer takes.

    python benchmarks/big_store.py HOME
    python benchmarks/dashboard_queries.py HOME [--repetitions 20] [--candidates 100000] [--dense 10000] [--json FILE]

Goals: 95 % of the answers within 0.3 s, the frontier of 10⁵ candidates with 2,000 draws within 1 s. *CPU* is this
process's own time: on a busy machine the wall clock says more of the others than of the query. The frontier's
candidates are made up here, six launches each: speed, memory and loss independent of each other, or a trade-off.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from quantfarm.candidates import Candidate
from quantfarm.statistics.frontier import pareto
from quantfarm.statistics.summary import Summary
from storage import catalogue, nights
from storage.candidates import candidates
from storage.home import Home
from storage.loads import throttles
from storage.overview import overview, running, states
from storage.reading import Reader
from storage.results import results
from storage.timeline import timeline, tokens

LAUNCH = "SELECT cell, attempt FROM cells WHERE current AND state = 'ok' AND workload_kind = ? ORDER BY cell LIMIT 1"
MOST = "SELECT device, model FROM cells WHERE current GROUP BY ALL ORDER BY count(*) DESC, device, model LIMIT 1"


def questions(home: Home, reader: Reader) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Of the device and model with the most cells: the slowest there are."""
    device, model = reader.rows(MOST)[0]
    app, long = (reader.rows(LAUNCH, [kind])[0] for kind in ("app", "sustained"))
    of = {"device": device, "model": model}
    key = next(iter(nights.series(reader, nights=20)))
    ask = functools.partial
    yield "overview: devices and the last night", ask(overview, reader)
    yield "overview: states and running sweeps, now", lambda: (states(home), running(home))
    yield "choices: devices", ask(catalogue.devices, reader)
    yield "choices: variants of a device and model", ask(catalogue.variants, reader, **of)
    yield "choices: metrics", ask(catalogue.metrics, reader)
    yield "frontier: candidates of a device and model", ask(candidates, reader, with_items=False, **of)
    yield "quality: the same with the answers of tasks", ask(candidates, reader, **of)
    yield "compare: candidates of a device, all models", ask(candidates, reader, device, with_items=False)
    yield "results of a device and model", ask(results, reader, **of)
    yield "results of a device, one metric", ask(results, reader, device=device, metric="decode_tps")
    yield "cell: timeline of a usual launch", ask(timeline, reader, *app)
    yield "cell: timeline of a sustained launch", ask(timeline, reader, *long)
    yield "cell: its tokens, from the raw trace", ask(tokens, home, *long, 10**12)
    yield "thermal: every sustained launch (8)", ask(throttles, home, reader)
    yield "history: one series", ask(nights.series, reader, only=key)


def group(count: int, launches: int = 6) -> list[Candidate]:
    """Each figure independent of the others."""
    rng = np.random.default_rng(0)
    speed, memory = (scale * np.exp(rng.normal(0, 0.4, count)) for scale in (100, 1000))
    return _candidates(speed, memory, np.exp(2.5 + rng.gamma(2, 0.1, count)), rng, launches)


def trade_off(count: int, launches: int = 6) -> list[Candidate]:
    """Fast and small, or good: dense along one curve, about 20 % above the least memory."""
    rng = np.random.default_rng(0)
    along = rng.random(count)
    memory = 1000 * (0.2 + along) * np.exp(rng.exponential(0.2, count))
    ppl = np.exp(2.5 + 0.3 * np.exp(-4 * along) + rng.exponential(0.05, count))
    return _candidates(100 / (0.2 + along), memory, ppl, rng, launches)


def _candidates(speed: Any, memory: Any, ppl: Any, rng: Any, launches: int) -> list[Candidate]:
    return [_candidate(i, s, m, p, rng, launches) for i, (s, m, p) in enumerate(zip(speed, memory, ppl, strict=True))]


def _candidate(number: int, speed: float, memory: float, ppl: float, rng: Any, launches: int) -> Candidate:
    fast = tuple((speed * rng.normal(1, 0.01, launches)).tolist())
    small = tuple((memory * rng.normal(1, 0.002, launches)).tolist())
    return Candidate(
        device="madeup",
        model="madeup",
        variant=f"v{number}",
        runtime="none",
        build="none",
        figures={
            "decode_tps": Summary(value=statistics.median(fast), mad=0.0, n=launches),
            "resident_peak": Summary(value=statistics.median(small), mad=0.0, n=launches),
            "ppl": Summary(value=ppl, mad=0.0, n=1000, low=ppl * 0.998, high=ppl * 1.002),
        },
        launches={"decode_tps": fast, "resident_peak": small},
        simulated=True,
    )


def measure(ask: Callable[[], Any], repetitions: int) -> dict[str, float]:
    """ms; the first answer is apart: it reads the file."""
    times: list[tuple[float, float]] = []
    for _ in range(repetitions + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        ask()
        times.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    walls, cpus = zip(*times[1:], strict=True)
    p95 = functools.partial(np.quantile, q=0.95)
    return {
        "first": times[0][0],
        "p50": statistics.median(walls),
        "p95": float(p95(walls)),
        "cpu_p50": statistics.median(cpus),
        "cpu_p95": float(p95(cpus)),
    }


def measured(name: str, ask: Callable[[], Any], repetitions: int) -> dict[str, float]:
    row = measure(ask, repetitions)
    print(f"{name:<46}" + "".join(f"{value:9.1f}" for value in row.values()), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--dense", type=int, default=10_000, help="candidates along one trade-off")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    home, found = Home(given.home), {}
    print(f"{'ms':<46}{'first':>9}{'p50':>9}{'p95':>9}{'CPU p50':>9}{'CPU p95':>9}")
    with Reader(home) as reader:
        asked = list(questions(home, reader))
        for name, ask in asked:
            found[name] = measured(name, ask, given.repetitions)
    for of, made, count in (
        ("the frontier of {:,} candidates", group, given.candidates),
        ("the frontier of {:,} of one trade-off", trade_off, given.dense),
    ):
        name = of.format(count)
        found[name] = measured(name, functools.partial(pareto, made(count)), 3)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
