"""kill -9 of whatever part of a running farm, at random moments: what it costs.

    python benchmarks/kills.py [--kills 100] [--budget 3600] [--seed 20261120] [--json FILE]

`quantfarm up` in a home of its own, sweeps started through Prefect's API as its UI starts them: simulated devices
(agent kind `fake`, half a second a cell) and a few real cells of the reference model on this machine. One of the
process of a sweep's run, the Prefect server and the serving process is killed, again and again. After each kill:

- the killed part must answer again within 60 s; of a sweep's process: `up` must have gone on with the sweep, and a cell
  must land again (a sweep that was cut off three times without one more cell is left to a person, who here starts it
  once more: these are counted apart);
- nothing that had landed may be gone or changed.

When a request is whole: each of its cells has exactly one attempt that is ok, so none was lost, doubled or run again
after it had finished. In the end TERM must leave no process, no lease and no half-written file behind.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from killed_farm import PARTS, Farm, Kill, leases_free


def many(farm: Farm, kills: int, budget_s: float, seed: int, tell: Callable[[str], None]) -> None:
    """Kill until there were enough kills; each request is checked when it is whole."""
    dice, began = random.Random(seed), time.monotonic()  # noqa: S311 - moments, not secrets
    request = farm.request(12)
    farm.run(request)
    while len(farm.kills) < kills and time.monotonic() - began < budget_s:
        if dice.random() < 0.8:  # else perhaps while nothing is measured
            farm.busy(request)
        time.sleep(dice.uniform(0.2, 6.0))
        farm.unchanged()
        part = dice.choice(PARTS)
        killed = farm.kill(part, request)
        farm.unchanged()
        if killed:
            farm.kills.append(killed)
            tell(f"{len(farm.kills):4d} {killed.part:8s} {killed.recovery_s:5.1f} s, {farm.done(request)} cells")
        if not farm.flows() and farm.done(request) < farm.wanted(request):
            farm.go_on(request)
        if farm.done(request) == farm.wanted(request):
            farm.whole(request)
            request = farm.request(12)
            farm.run(request)
    farm.go_on(request)
    farm.whole(request)


def table(kills: list[Kill]) -> list[str]:
    lines = ["| killed | kills | recovery: median | worst | goal |", "|---|--:|--:|--:|--:|"]
    for part in PARTS:
        took = [one.recovery_s for one in kills if one.part == part]
        if took:
            lines.append(f"| {part} | {len(took)} | {statistics.median(took):.1f} s | {max(took):.1f} s | ≤ 60 s |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--budget", type=float, default=3600.0, help="seconds after which no more are made")
    parser.add_argument("--seed", type=int, default=20261120)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what it started must end with it
    with tempfile.TemporaryDirectory() as folder:
        farm = Farm(Path(folder))
        try:
            farm.start()
            many(farm, args.kills, args.budget, args.seed, lambda text: print(text, file=sys.stderr, flush=True))
            farm.stop()
            leases_free(farm.folder / "leases")
        finally:
            farm.end()
    print("\n".join(table(farm.kills)))
    print(
        f"{len(farm.kills)} kills, {farm.requests} requests, {farm.cells} cells (simulated, and the reference model's "
        f"in each third request), {farm.started} runs asked for through the API, "
        f"{sum(one.again for one in farm.kills) + farm.left} of them by a person's hand because `up` had gone on three "
        "times in vain: no cell lost, doubled or run again, no process or lease left"
    )
    if args.json:
        body = {"kills": [vars(one) for one in farm.kills], "requests": farm.requests, "cells": farm.cells}
        args.json.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()
