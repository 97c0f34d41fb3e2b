"""How long a sweep over many devices takes against the least it could take.

    python benchmarks/makespan.py [--json FILE]

Eight simulated devices, 200 cells, each of which takes its device a known time. The lower bound is the
work of the busiest device; the makespan is from the first cell's start to the last one's landing, so the
server's start is not in it (it is given apart). Goal: at most 1.05.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

QUANTFARM = Path(sys.executable).parent / "quantfarm"
DEVICES = 8
QUANTS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M")
LAUNCHES = 5
#: Seconds of a cell on each device: the slowest bounds the sweep.
SLEEPS_S = [1.2 + 0.1 * n for n in range(DEVICES)]


def prepare(home: Path) -> Path:
    """Profiles and a sweep file of 200 cells."""
    folder = home / "device_profiles"
    folder.mkdir(parents=True)
    for n, sleep_s in enumerate(SLEEPS_S):
        body = {"kind": "fake", "simulated": True, "cores": 4, "memory_mib": 8192, "options": {"sleep_s": sleep_s}}
        (folder / f"box{n}.yaml").write_text(json.dumps(body))
    sweep = {
        "quants": list(QUANTS),
        "devices": [f"box{n}" for n in range(DEVICES)],
        "launches": LAUNCHES,
        "workloads": [{"kind": "bench", "n_prompt": 64, "n_gen": 16}],
    }
    (home / "sweep.yaml").write_text(json.dumps(sweep))
    return home / "sweep.yaml"


def span(home: Path) -> tuple[int, float]:
    """Cells landed, and seconds from the first one's start to the last one's end."""
    cells = [json.loads(path.read_bytes()) for path in (home / "cells").glob("*.json")]
    times = [(datetime.fromisoformat(cell["started_at"]).timestamp(), cell["seconds"]) for cell in cells]
    return len(cells), max(at + took for at, took in times) - min(at for at, _ in times)


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        file = prepare(home)
        environment = {**os.environ, "QUANTFARM_HOME": str(home), "QUANTFARM_LEASES": str(home / "leases")}
        began = time.monotonic()
        subprocess.run(
            [QUANTFARM, "sweep", str(file), "--json"], env=environment, check=True, stdout=subprocess.DEVNULL
        )
        whole = time.monotonic() - began
        cells, makespan = span(home)
    bound = max(SLEEPS_S) * len(QUANTS) * LAUNCHES
    return {
        "devices": DEVICES,
        "cells": cells,
        "lower_bound_s": round(bound, 2),
        "makespan_s": round(makespan, 2),
        "makespan_over_bound": round(makespan / bound, 4),
        "whole_command_s": round(whole, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = measure()
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
