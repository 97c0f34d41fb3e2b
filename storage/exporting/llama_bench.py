"""Bench cells as llama-bench's JSON lines: those whose repetitions are known, one row for each phase of a launch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from quantfarm.exchange.llama_bench_out import Bench, text
from storage.exporting import Asked, Exported
from storage.reading import Reader
from storage.runs import Run, check_device, read_runs

KIND = "bench"
METRICS = {"prefill": "bench_pp", "decode": "bench_tg"}
CHIPS = "SELECT cell, chip FROM cells WHERE current"
REPETITIONS = """
SELECT r.cell, r.phase, r.tokens, coalesce(r.depth, 0) AS depth, list(r.seconds ORDER BY r.repetition) AS seconds
FROM repetitions AS r JOIN cells AS c USING (cell, attempt)
WHERE c.current AND c.state = 'ok' AND c.workload_kind = 'bench' AND r.mode = 'bench' AND r.tokens > 0 AND r.seconds > 0
GROUP BY r.cell, r.phase, r.tokens, r.depth ORDER BY r.cell, r.phase DESC, r.depth
"""


def export(reader: Reader, asked: Asked) -> Exported:
    check_device(reader, asked.device)
    runs = [run for run in read_runs(reader, asked.model) if run.kind == KIND and asked.device in (None, run.device)]
    real = [run for run in runs if run.ok and not run.simulated]
    found = list(_benches(reader, real, asked.metric))
    shown = {bench.about["cell"] for bench in found}
    left = {
        "failed or simulated": len(runs) - len(real),
        "without known repetitions, or not valid": sum(run.cell not in shown for run in real),
    }
    said = tuple(f"{n} launches {why}" for why, n in left.items() if n)
    return Exported(text(found).encode(), len(found), said)


def _benches(reader: Reader, runs: list[Run], metric: str | None) -> Iterator[Bench]:
    chips = {row["cell"]: row["chip"] for row in reader.query(CHIPS)}
    by_cell = {run.cell: run for run in runs}
    for row in reader.query(REPETITIONS):
        run, name = by_cell.get(row["cell"]), METRICS.get(row["phase"], "")
        figure = run.figures.get(name) if run else None
        if run and figure and figure.valid and metric in (None, name):
            yield _bench(run, row, chips[run.cell])


def _bench(run: Run, row: dict[str, Any], chip: str) -> Bench:
    names = ("device", "model", "variant", "runtime", "build", "cell")
    return Bench(
        prefill=row["phase"] == "prefill",
        tokens=row["tokens"],
        depth=row["depth"],
        samples_ns=[round(seconds * 1e9) for seconds in row["seconds"]],
        chip=chip,
        started_at=f"{run.started_at.isoformat(timespec='seconds')}Z" if run.started_at else "",
        about={name: getattr(run, name) for name in names},
        settings=run.settings,
        conditions=json.loads(run.conditions),
    )
