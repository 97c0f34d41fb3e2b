"""A farm of 200 devices and 20,000 cells through the real sweep, on one machine: time, memory, disk.

    python benchmarks/scale.py [--devices 200] [--cells 20000] [--sleep 8] [--json FILE]

Simulated devices (agent kind `fake`), a real Prefect server on SQLite, the command that users run. Time is
compressed: a cell takes its device `--sleep` seconds where a real one takes a minute or more. What the farm adds
to a cell does not shrink with it, so it is given in absolute seconds, and held to 1 % of a 60 s cell.

- *makespan*: from the first cell's start to the last one's landing. *Lower bound*: a device's cells one after the
  other with nothing between them. Goal: at most 1.10 times the bound.
- *dispatch*: what a lane spends on a cell beside the device's own time, the median over all gaps between the end
  of one cell and the start of the next on a device, plus what the cell itself took beyond its sleep. Goal: 0.6 s.
- *memory*: the greatest resident set of the controlling process, and its growth per 1,000 cells, a line fitted
  from the first tenth of the cells on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from flows.settings import OFFLINE

BIN = Path(sys.executable).parent
QUANTS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M")
MIB = 2**20


def prepare(home: Path, devices: int, cells: int, sleep_s: float) -> tuple[Path, int]:
    """Profiles and a sweep file; the number of cells it has."""
    folder = home / "device_profiles"
    folder.mkdir(parents=True)
    names = [f"box{n:03d}" for n in range(devices)]
    body = {"kind": "fake", "simulated": True, "cores": 4, "memory_mib": 8192, "options": {"sleep_s": sleep_s}}
    for name in names:
        (folder / f"{name}.yaml").write_text(json.dumps(body))
    launches = max(1, round(cells / devices / len(QUANTS)))
    sweep = {
        "quants": list(QUANTS),
        "devices": names,
        "launches": launches,
        "workloads": [{"kind": "bench", "n_prompt": 64, "n_gen": 16}],
    }
    (home / "sweep.yaml").write_text(json.dumps(sweep))
    return home / "sweep.yaml", devices * launches * len(QUANTS)


@contextmanager
def server(home: Path) -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    """A Prefect server of its own on SQLite; its process and the environment that uses it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ,
        **OFFLINE,
        "QUANTFARM_HOME": str(home),
        "QUANTFARM_LEASES": str(home / "leases"),
        "PREFECT_HOME": str(home / "prefect"),
    }
    environment.pop("PREFECT_API_URL", None)
    command = [BIN / "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _await(f"{url}/health", process)
        yield psutil.Process(process.pid), {**environment, "PREFECT_API_URL": url}
    finally:
        process.terminate()
        process.wait(60)


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "the Prefect server ended at once"
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the Prefect server did not start")


@dataclass
class Watch:
    """Once a second: resident bytes and CPU of controller and server, threads, and cells landed."""

    home: Path
    controller: psutil.Process
    server: psutil.Process
    rows: list[dict[str, float]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self.over.wait(1.0):
            try:
                self.rows.append(
                    {
                        "t": time.monotonic(),
                        "cells": sum(1 for _ in os.scandir(self.home / "cells")) if self._any() else 0,
                        "controller": self.controller.memory_info().rss / MIB,
                        "threads": self.controller.num_threads(),
                        "controller_cpu": sum(self.controller.cpu_times()[:2]),
                        "server": _family(self.server) / MIB,
                        "server_cpu": sum(self.server.cpu_times()[:2]),
                    }
                )
            except psutil.Error:
                return

    def _any(self) -> bool:
        return (self.home / "cells").is_dir()

    def peak(self, what: str) -> float:
        return max((row[what] for row in self.rows), default=0.0)

    def growth(self) -> float:
        """MiB of the controller per 1,000 cells, after the first tenth of them."""
        last = self.peak("cells")
        points = [(row["cells"], row["controller"]) for row in self.rows if row["cells"] > last / 10]
        if len({x for x, _ in points}) < 3:
            return float("nan")
        return 1000 * statistics.linear_regression(*zip(*points, strict=True)).slope


def _family(process: psutil.Process) -> int:
    return sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0


def landed(home: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in (home / "cells").glob("*.json"):
        body = json.loads(path.read_bytes())
        began = datetime.fromisoformat(body["started_at"]).timestamp()
        device = body["cell"]["profile"]["name"]
        found.append(
            {
                "device": device,
                "cell": path.stem.rpartition(".")[0] or path.stem,
                "began": began,
                "seconds": body["seconds"],
                "attempt": body["attempt"],
                "state": body["outcome"]["state"],
            }
        )
    return found


def spent(cells: list[dict[str, Any]], sleep_s: float) -> dict[str, float]:
    """Makespan against the bound, and what the farm added to a cell."""
    by_device: dict[str, list[dict[str, Any]]] = {}
    for cell in sorted(cells, key=lambda one: one["began"]):
        by_device.setdefault(cell["device"], []).append(cell)
    added = [
        after["began"] - before["began"] - sleep_s
        for lane in by_device.values()
        for before, after in itertools.pairwise(lane)
    ]
    ends = [cell["began"] + cell["seconds"] for cell in cells]
    makespan = max(ends) - min(cell["began"] for cell in cells)
    bound = max(len(lane) for lane in by_device.values()) * sleep_s
    return {
        "makespan_s": round(makespan, 2),
        "lower_bound_s": round(bound, 2),
        "makespan_over_bound": round(makespan / bound, 4) if bound else float("nan"),
        "last_lane_began_after_s": round(
            max(lane[0]["began"] for lane in by_device.values()) - min(cell["began"] for cell in cells), 2
        ),
        "dispatch_s_median": round(statistics.median(added), 4),
        "dispatch_s_mean": round(statistics.fmean(added), 4),
        "dispatch_s_p99": round(sorted(added)[int(0.99 * (len(added) - 1))], 4),
        "dispatch_share_of_60_s_cell": round(statistics.fmean(added) / 60, 5),
    }


def measure(devices: int, cells: int, sleep_s: float, folder: Path) -> dict[str, Any]:
    home = folder / "home"
    home.mkdir()
    file, planned = prepare(home, devices, cells, sleep_s)
    with server(home) as (served, environment):
        idle = _family(served) / MIB
        began = time.monotonic()
        with (home / "sweep.log").open("wb") as log:
            sweep = subprocess.Popen(
                [BIN / "quantfarm", "sweep", file, "--json"], env=environment, stdout=subprocess.PIPE, stderr=log
            )
            with Watch(home, psutil.Process(sweep.pid), served) as watch:
                out, _ = sweep.communicate()
        whole = time.monotonic() - began
        assert sweep.returncode == 0, f"the sweep ended with {sweep.returncode}: {(home / 'sweep.log').read_text()}"
        runs = _settled(environment["PREFECT_API_URL"])
        artifacts = _count(environment["PREFECT_API_URL"], "artifacts")
    found = landed(home)
    times = Counter(cell["cell"] for cell in found)
    return {
        "simulated": True,
        "devices": devices,
        "cells": planned,
        "sleep_s": sleep_s,
        "counts": json.loads(out),
        "landed": len(found),
        "lost": planned - len(times),
        "doubled": sum(count - 1 for count in times.values()),
        "not_ok": sum(cell["state"] != "ok" for cell in found),
        **spent(found, sleep_s),
        "whole_command_s": round(whole, 1),
        "controller_peak_mib": round(watch.peak("controller"), 1),
        "controller_growth_mib_per_1000_cells": round(watch.growth(), 2),
        "controller_threads": int(watch.peak("threads")),
        "controller_cpu_s_per_cell": round(watch.peak("controller_cpu") / planned, 4),
        "server_idle_mib": round(idle, 1),
        "server_peak_mib": round(watch.peak("server"), 1),
        "server_cpu_s_per_cell": round(watch.peak("server_cpu") / planned, 4),
        "server_task_runs": runs,
        "server_artifacts": artifacts,
        "duckdb_mib": round(_size(home / "db" / "working.duckdb") / MIB, 1),
        "landed_mib": round((_size(home / "cells") + _size(home / "traces")) / MIB, 1),
        "prefect_db_mib": round(sum(_size(p) for p in (home / "prefect").glob("prefect.db*")) / MIB, 1),
        "rows": watch.rows,
    }


def _count(api: str, what: str) -> int:
    asked = urllib.request.Request(  # noqa: S310 - our own server
        f"{api}/{what}/count", data=b"{}", headers={"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
        return json.load(answer)


def _settled(api: str) -> int:
    """Task runs that the server knows, once it has written down all that it was told."""
    before = -1
    while (now := _count(api, "task_runs")) != before:
        before = now
        time.sleep(5)
    return now


def tell(found: dict[str, Any]) -> None:
    """Lines for docs/benchmarks.md."""
    f = found
    lines = [
        (
            f"makespan of {f['cells']:,} cells on {f['devices']} simulated devices, {f['sleep_s']:g} s a cell, ÷ bound",
            f"{f['makespan_over_bound']:.3f}",
            "≤ 1.10",
        ),
        (
            "what the farm adds to a cell there, mean (99 %)",
            f"{f['dispatch_s_mean']:.3f} s ({f['dispatch_s_p99']:.2f} s)",
            "≤ 0.6 s",
        ),
        (
            "controller: peak memory, growth per 1,000 cells, threads",
            f"{f['controller_peak_mib']:.0f} MiB, {f['controller_growth_mib_per_1000_cells']:.1f} MiB, "
            f"{f['controller_threads']}",
            "bounded",
        ),
        (
            "CPU per cell: controller, Prefect server",
            f"{f['controller_cpu_s_per_cell'] * 1e3:.0f} ms, {f['server_cpu_s_per_cell'] * 1e3:.0f} ms",
            "",
        ),
        (
            "on disk: DuckDB, landed files, Prefect's database",
            f"{f['duckdb_mib']:.0f} MiB, {f['landed_mib']:.0f} MiB, {f['prefect_db_mib']:.0f} MiB",
            "",
        ),
        (
            "Prefect server's memory: idle, at most",
            f"{f['server_idle_mib']:.0f} MiB, {f['server_peak_mib']:.0f} MiB",
            "",
        ),
        ("lost, doubled, failed", f"{f['lost']}, {f['doubled']}, {f['not_ok']}", "0"),
    ]
    for what, value, goal in lines:
        print(f"| {what} | {value} | | {goal} | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--sleep", type=float, default=8.0)
    parser.add_argument("--keep", type=Path, help="leave home and logs in this new folder")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.keep:
        args.keep.mkdir(parents=True)
        found = measure(args.devices, args.cells, args.sleep, args.keep)
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(args.devices, args.cells, args.sleep, Path(folder))
    rows = found.pop("rows")
    tell(found)
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps({**found, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
