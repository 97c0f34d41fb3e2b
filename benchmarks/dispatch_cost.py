"""What the orchestration of a cell costs, and whether the controller sleeps while a device measures.

    python benchmarks/dispatch_cost.py [--cells 60] [--json FILE]

Simulated devices, so that nothing but the farm itself is timed: first cells that take no time (all
that passes is dispatch), then cells that only wait (all CPU time used beside them is the farm's).
Goals: at most 0.6 s for a 60 s cell (1 %); CPU used by the controller beside a run under 1 % of a core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

QUANTFARM = Path(sys.executable).parent / "quantfarm"


def device(home: Path, sleep_s: float) -> None:
    folder = home / "device_profiles"
    folder.mkdir(parents=True, exist_ok=True)
    body = {"kind": "fake", "simulated": True, "cores": 4, "memory_mib": 8192, "options": {"sleep_s": sleep_s}}
    (folder / "box.yaml").write_text(json.dumps(body))


def sweep(home: Path, launches: int) -> tuple[float, psutil.Process]:
    """Seconds of a whole sweep of one quant, bench and app cells: 2 × launches cells."""
    environment = {**os.environ, "QUANTFARM_HOME": str(home), "QUANTFARM_LEASES": str(home / "leases")}
    command = [QUANTFARM, "sweep", "--devices", "box", "--quants", "Q8_0", "--suite", "speed", "--json"]
    began = time.monotonic()
    process = subprocess.Popen([*command, "--launches", str(launches)], env=environment, stdout=subprocess.DEVNULL)
    return began, psutil.Process(process.pid)


def wait(process: psutil.Process) -> None:
    assert process.wait() == 0, "the sweep failed"


def dispatch_s(cells: int) -> float:
    """Seconds per cell, from the difference of a long and a short sweep: starting up is not dispatch."""
    took: list[float] = []
    for launches in (1, cells // 2 + 1):
        with tempfile.TemporaryDirectory() as folder:
            device(Path(folder), 0.0)
            began, process = sweep(Path(folder), launches)
            wait(process)
            took.append(time.monotonic() - began)
    return (took[1] - took[0]) / (2 * (cells // 2))


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds of a process and all that it started, so far."""
    family = [process, *process.children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in family)


def share_beside_a_run(sleep_s: float) -> float:
    """CPU seconds of controller and server per second, in the middle of a cell that only waits."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        device(home, 0.0)
        wait(sweep(home, 1)[1])  # variants made, database there
        device(home, sleep_s)
        _, process = sweep(home, 2)
        while not list((home / "traces" / ".partial").glob("*.jsonl")):
            time.sleep(0.2)
        time.sleep(5)
        first, began = cpu_s(process), time.monotonic()
        time.sleep(sleep_s - 10)
        share = (cpu_s(process) - first) / (time.monotonic() - began)
        for one in [process, *process.children(recursive=True)]:
            one.kill()
    return share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=60)
    parser.add_argument("--sleep", type=float, default=40.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    each, share = dispatch_s(args.cells), share_beside_a_run(args.sleep)
    found: dict[str, Any] = {
        "dispatch_s_per_cell": round(each, 4),
        "dispatch_share_of_60_s_cell": round(each / 60, 5),
        "controller_cpu_share_beside_a_run": round(share, 5),
    }
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
