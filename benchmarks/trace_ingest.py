"""How fast raw traces become rows: the whole ingest, beside what DuckDB takes to read the same files at all.

    python benchmarks/trace_ingest.py [--rows 3000000] [--repetitions 5] [--json FILE]

A row is one value of one `sample` event. `ingest` is all of it: cells, traces, commit, checkpoint and
publication, from landed files to a version that readers see. `read_json` is DuckDB's own reading of the
same files with the same columns into a table of events, committed and checkpointed; `COPY` of the rows
from a Parquet file that holds them already is the least that any storing can cost. The three take turns.
Goal: at least 10⁶ rows/s.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quantfarm.nouns import (
    Cell,
    DeviceProfile,
    Landed,
    Measurement,
    Outcome,
    Recipe,
    State,
    Variant,
    Workload,
    parameters,
)
from storage import traces
from storage.database import open_writer, quoted
from storage.home import Home
from storage.ingest import ingest, working_path
from storage.landing import TraceWriter, land

CELLS = 24
#: What the sampler reads ten times a second.
VALUES = ("rss_mib", "rss_anon_mib", "hwm_mib", "majflt", "freq_mhz")
GOAL = 1e6


def make(home: Home, rows: int) -> float:
    """Lands cells whose traces hold so many values; their size in MB."""
    dice = random.Random(0)  # noqa: S311 (the same traces every time)
    per_cell = rows // (CELLS * len(VALUES))
    return sum(_land(home, dice, launch, per_cell) for launch in range(CELLS)) / 1e6


def _land(home: Home, dice: random.Random, launch: int, events: int) -> int:
    cell = _cell(launch)
    with TraceWriter(home, cell.id, 1) as trace:
        trace.write(json.dumps({"event": "begin", "schema": 1, "t": 0, "clock": "monotonic_ns"}))
        trace.write("\n".join(_sample(dice, n) for n in range(events)))
        trace.write(json.dumps({"event": "end", "t": events * 10**8, "ok": True}))
    size = trace.path.stat().st_size
    figure = Measurement(metric="bench_tg", value=float(launch), unit="tok/s")
    land(home, Landed(cell=cell, attempt=1, outcome=Outcome(state=State.OK), measurements=(figure,)), trace.path)
    return size


def _cell(launch: int) -> Cell:
    recipe = Recipe(source="none", quantizer="gguf", quant="Q4_K_M")
    return Cell(
        profile=DeviceProfile(name="box", cores=4, simulated=True),
        variant=Variant(model="made up", format="gguf", quant="Q4_K_M", recipe=recipe),
        runtime="llama_cpp",
        build="none",
        workload=Workload(kind="bench", parameters=parameters(n_prompt=512, n_gen=128)),
        launch=launch,
    )


def _sample(dice: random.Random, n: int) -> str:
    memory = 800 + dice.random()
    read = (round(memory, 3), round(memory - 700, 3), 801.5, n // 1000, dice.randrange(800, 3400))
    event = {
        "event": "sample",
        "t": 10**15 + n * 10**8,
        "source": "proc",
        "values": dict(zip(VALUES, read, strict=True)),
    }
    return json.dumps(event, separators=(",", ":"))


def whole_ingest(home: Home) -> None:
    for path in (home.root / "db").glob("*"):
        path.unlink() if path.is_file() else None
    ingest(home)


def only_read_json(home: Home) -> None:
    files = [str(path) for path in sorted(home.traces.glob("*.jsonl"))]
    source = traces.READ.format(columns=traces.SAMPLE_COLUMNS)
    _timed_statement(home, f"CREATE TABLE t AS SELECT * FROM {source} WHERE event = 'sample'", [files])  # noqa: S608


def only_copy(home: Home) -> None:
    _timed_statement(home, f"CREATE TABLE t AS FROM read_parquet({quoted(str(home.root / 'samples.parquet'))})")


def _timed_statement(home: Home, sql: str, given: list[Any] | None = None) -> None:
    path = home.root / "baseline.duckdb"
    path.unlink(missing_ok=True)
    connection = open_writer(path)
    connection.execute(sql, given)
    connection.execute("CHECKPOINT")
    connection.close()


def rows_loaded(home: Home) -> int:
    """Counts them, and writes them down for the copy."""
    connection = open_writer(working_path(home))
    row = connection.execute("SELECT count(*) FROM samples").fetchone()
    connection.execute(f"COPY samples TO {quoted(str(home.root / 'samples.parquet'))} (FORMAT parquet)")
    connection.close()
    assert row
    return row[0]


def seconds(work: Callable[[Home], None], home: Home) -> tuple[float, float]:
    """Wall seconds and CPU seconds of all threads of this process."""
    began, cpu = time.perf_counter(), time.process_time()
    work(home)
    return time.perf_counter() - began, time.process_time() - cpu


def measure(rows: int, repetitions: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        megabytes = make(home, rows)
        whole_ingest(home)  # warm: files in the page cache, imports done
        loaded = rows_loaded(home)
        ways = {"ingest": whole_ingest, "read_json": only_read_json, "copy": only_copy}
        took: list[dict[str, tuple[float, float]]] = []
        for _ in range(repetitions):
            took.append({name: seconds(work, home) for name, work in ways.items()})
    wall, cpu = ({name: [one[name][i] for one in took] for name in ways} for i in (0, 1))
    return {"rows": loaded, "megabytes": megabytes, "cells": CELLS, "seconds": wall, "cpu_seconds": cpu}


def summary(measured: dict[str, Any]) -> dict[str, Any]:
    """Medians over repetitions; ratios are of paired repetitions."""
    took = measured["seconds"]
    pairs = list(zip(took["ingest"], took["read_json"], took["copy"], strict=True))
    middle = statistics.median(took["ingest"])
    return {
        "ingest_rows_per_s": measured["rows"] / middle,
        "ingest_rows_per_cpu_s": measured["rows"] / statistics.median(measured["cpu_seconds"]["ingest"]),
        "ingest_mb_per_s": measured["megabytes"] / middle,
        "speed_over_read_json": statistics.median(read / ingest for ingest, read, _ in pairs),
        "speed_over_copy": statistics.median(copy / ingest for ingest, _, copy in pairs),
        "goal_met": measured["rows"] / middle >= GOAL,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    asked = parser.parse_args()
    measured = measure(asked.rows, asked.repetitions)
    found = measured | summary(measured)
    print(f"{found['rows']:,} rows of {CELLS} traces, {found['megabytes']:.0f} MB, median of {asked.repetitions}")
    print(f"ingest, all of it    {found['ingest_rows_per_s'] / 1e6:6.2f} M rows/s {found['ingest_mb_per_s']:7.0f} MB/s")
    print(f"per CPU second       {found['ingest_rows_per_cpu_s'] / 1e6:6.2f} M rows")
    print(f"÷ read_json alone    {found['speed_over_read_json']:6.2f}")
    print(f"÷ COPY from Parquet  {found['speed_over_copy']:6.2f}")
    print(f"goal of {GOAL:,.0f} rows/s {'met' if found['goal_met'] else 'missed'}")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
