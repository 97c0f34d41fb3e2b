"""Small results for views: three variants with speed, memory, perplexity by chunk and a task by document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from quantfarm.nouns import DeviceProfile, Landed, Measurement, Workload, parameters
from storage.home import Home
from storage.ingest import ingest
from tests.storing import APP, LAPTOP, LINES, QUALITY, artifact, cell, chunk, landed, put, tokens

Farm = dict[str, tuple[float, float, tuple[float, ...]]]
#: Quantization -> decode tok/s, MiB, mean nll by chunk: F16 is good, Q8_0 nearly as good and faster, Q2_K bad.
FARM: Farm = {
    "F16": (100.0, 900.0, (2.0, 3.0)),
    "Q8_0": (180.0, 500.0, (2.001, 3.001)),
    "Q2_K": (250.0, 300.0, (2.4, 3.5)),
}
BITS = {"F16": 16.0, "Q8_0": 8.5, "Q2_K": 2.6}
TASK = Workload(kind="tasks", parameters=parameters(task="arc_easy", n_shot=0, limit=20))


def fill(home: Path, profile: DeviceProfile = LAPTOP, farm: Farm = FARM, launches: int = 3) -> None:
    for quant, (speed, memory, nll) in farm.items():
        for n in range(launches):
            figures = [
                Measurement(metric="decode_tps", value=speed + n, unit="tok/s"),
                Measurement(metric="resident_peak", value=memory, unit="MiB"),
            ]
            done = landed(cell(n, APP, quant, profile), figures=figures, settings={"threads": 4})
            put(Home(home), _sized(done, quant))
        chunks = [chunk(i, [value] * 3) for i, value in enumerate(nll)]
        ppl = Measurement(metric="ppl", value=2.718281828 ** (sum(nll) / len(nll)), unit="", n=6)
        kld = Measurement(metric="kld_mean", value=0.001 if quant == "F16" else nll[0] - 1.99, unit="nat", n=6)
        quality = landed(cell(0, QUALITY, quant, profile), figures=[ppl, kld])
        put(Home(home), _sized(quality, quant), [LINES[0], tokens(), *chunks, LINES[-1]])
    ingest(Home(home))


def ask(home: Path, quant: str, right: Sequence[bool], of: int = 0) -> None:
    """A task's answers; `of`: how many documents the task has, where it was asked of a part."""
    n = len(right)
    metric = "acc_arc_easy" + (f"_{n}of{of}" if of else "")
    share = 100 * sum(right) / n
    figure = Measurement(metric=metric, value=share, unit="%", n=n, low=share - 10, high=share + 10)
    put(Home(home), _sized(landed(cell(0, TASK, quant), figures=[figure]), quant), _items(right))
    ingest(Home(home))


def _items(right: Sequence[bool]) -> list[str]:
    asked = {"event": "tasks", "t": 0, "task": "arc_easy", "n_docs": len(right), "whole": len(right)}
    about = {"event": "item", "group": "", "lengths": [4, 4], "ll": [-1.0, -2.0], "greedy": [False, False]}
    items = [{**about, "t": i, "doc": i, "doc_hash": f"d{i}", "gold": 0 if one else 1} for i, one in enumerate(right)]
    return [LINES[0], json.dumps(asked), *map(json.dumps, items), LINES[-1]]


def _sized(done: Landed, quant: str) -> Landed:
    """With an artifact of its bits per weight."""
    return replace(done, artifact=replace(artifact(done.cell), bits_per_weight=BITS.get(quant, 4.8)))
