"""How often the steady-state rule of sustained load errs: on made-up devices whose steady rate is known.

    python -m benchmarks.steady_state --draws 500

For each kind of device and noise: the share found steady, after how many runs, and how far the steady rate is off.
A ramp has no steady rate: whatever is found steady there is an error.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quantfarm.statistics.steady import Steady, judge

RUNS, MORE, MOST = 10, 5, 30
#: Rate of run i, and what it tends to (None: to nothing).
DEVICES: dict[str, tuple[Callable[[int], float], float | None]] = {
    "flat": (lambda _: 100.0, 100.0),
    "decay to 70 %, tau 2 runs": (lambda i: 70 + 30 * math.exp(-i / 2), 70.0),
    "decay to 70 %, tau 5 runs": (lambda i: 70 + 30 * math.exp(-i / 5), 70.0),
    "step to 80 % after 5 runs": (lambda i: 100.0 if i < 5 else 80.0, 80.0),
    "step to 80 % after 8 runs": (lambda i: 100.0 if i < 8 else 80.0, 80.0),
    "ramp, -1 % a run": (lambda i: 100.0 - i, None),
    "ramp, -0.3 % a run": (lambda i: 100.0 - 0.3 * i, None),
    "in turns ±5 %": (lambda i: 105.0 if i % 2 else 95.0, 100.0),
}
#: Fewer steady launches do not show how far off they are.
ENOUGH = 50
NOISES = (0.003, 0.01, 0.02)


def settled(rate: Callable[[int], float], noise: float, chance: random.Random) -> Steady:
    """What the protocol ends with on a device with normal noise of this coefficient of variation."""
    rates = [rate(i) * (1 + noise * chance.gauss(0, 1)) for i in range(MOST)]
    found = judge(rates[:RUNS])
    for n in range(RUNS + MORE, MOST + 1, MORE):
        if found.steady:
            break
        found = judge(rates[:n])
    return found


def row(name: str, noise: float, draws: int, seed: int) -> dict[str, Any]:
    rate, true = DEVICES[name]
    chance = random.Random(f"{seed} {name} {noise}")  # noqa: S311
    found = [settled(rate, noise, chance) for _ in range(draws)]
    values = [one.rate.value for one in found if one.rate]
    off = sorted(abs(value / true - 1) for value in values) if true and len(values) >= ENOUGH else []
    return {
        "device": name,
        "noise": noise,
        "steady": len(values) / draws,
        "runs": statistics.mean(one.n for one in found),
        "off_median": statistics.median(off) if off else None,
        "off_p95": off[int(0.95 * (len(off) - 1))] if off else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200, help="made-up launches of each (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    given = parser.parse_args()
    rows = [row(name, noise, given.draws, given.seed) for noise in NOISES for name in DEVICES]
    print("noise  device                      steady  runs  off by (median, 95 %)")
    for one in rows:
        off = f"{one['off_median']:.2%}, {one['off_p95']:.2%}" if one["off_median"] is not None else "-"
        print(f"{one['noise']:5.1%}  {one['device']:26s}  {one['steady']:6.1%}  {one['runs']:4.1f}  {off}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
