"""Cells and traces for tests of the store: made up, but landed through the real doors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from quantfarm.nouns import (
    Artifact,
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
from storage.home import Home
from storage.landing import TraceWriter, land

PHONE = DeviceProfile(name="phone", chip="Tensor G3", cores=9, memory_mib=8192)
LAPTOP = DeviceProfile(name="laptop", chip="N100", cores=4, memory_mib=16384)
BENCH = Workload(kind="bench", parameters=parameters(n_prompt=512, n_gen=128, n_depth=0))
APP = Workload(kind="app", parameters=parameters(n_prompt=128, n_gen=64))
QUALITY = Workload(kind="quality", parameters=parameters(n_ctx=512, n_chunks=2))
OK = Outcome(state=State.OK)
FAILED = Outcome(state=State.FAILED, stage="load", reason="out of memory")


def recipe(quant: str = "Q4_K_M", source: str = "ab" * 32) -> Recipe:
    return Recipe(source=source, quantizer="gguf", quant=quant, tool="llama-cpp-python 0.3.36")


def cell(
    launch: int = 0,
    workload: Workload = BENCH,
    quant: str = "Q4_K_M",
    profile: DeviceProfile = LAPTOP,
    build: str = "llama-cpp-python 0.3.36",
    source: str = "ab" * 32,
) -> Cell:
    variant = Variant(model="reference", format="gguf", quant=quant, recipe=recipe(quant, source))
    return Cell(profile=profile, variant=variant, runtime="llama_cpp", build=build, workload=workload, launch=launch)


def artifact(of: Cell) -> Artifact:
    made = of.variant.recipe
    return Artifact(
        sha256=made.id * 4, size=1000, recipe=made, bits_per_weight=4.8, types={"Q4_K": 3}, fallbacks=("x",)
    )


def landed(
    of: Cell,
    attempt: int = 1,
    outcome: Outcome = OK,
    figures: Mapping[str, float] | Iterable[Measurement] = (),
    started_at: str = "2025-03-01T12:00:00.000+00:00",
    **conditions: Any,
) -> Landed:
    if isinstance(figures, Mapping):
        figures = [Measurement(metric=name, value=value, unit="tok/s") for name, value in figures.items()]
    return Landed(
        cell=of,
        attempt=attempt,
        outcome=outcome,
        measurements=tuple(figures),
        artifact=artifact(of),
        conditions=conditions,
        started_at=started_at,
        seconds=1.5,
        sweep="s1",
    )


def sample(t: int, **values: float | None) -> str:
    return json.dumps({"event": "sample", "t": t, "source": "proc", "values": values})


def chunk(index: int, nll: list[float]) -> str:
    return json.dumps({"event": "chunk", "t": index, "index": index, "n": len(nll), "nll": nll})


def tokens(text_sha256: str = "ee" * 32, n_chunks: int = 2) -> str:
    said = {"text_sha256": text_sha256, "token_sha256": "ff", "n_tokens": 1024, "n_chunks": n_chunks, "n_ctx": 512}
    return json.dumps({"event": "tokens", "t": 0, **said, "add_bos": True, "bytes": 4000})


LINES = ('{"event": "begin", "schema": 1, "t": 0}', sample(1, rss_mib=10.5, majflt=0), '{"event": "end", "ok": true}')
QUALITY_LINES = (LINES[0], tokens(), chunk(0, [1.0, 2.0]), chunk(1, [0.5, 0.25, 3.0]), LINES[-1])


def put(home: Home, what: Landed, lines: Iterable[str] | None = None) -> Path:
    """Lands it with a trace of these lines, or such as its kind has."""
    if lines is None:
        lines = QUALITY_LINES if what.cell.workload.kind == "quality" else LINES
    with TraceWriter(home, what.cell.id, what.attempt) as trace:
        for line in lines:
            trace.write(line)
    return land(home, what, trace.path)


def launches(home: Home, metric: str, values: Iterable[float], of: Cell | None = None, **more: Any) -> list[Landed]:
    """One landed launch for each value."""
    of = of or cell()
    done = [landed(replace(of, launch=n), figures={metric: value}, **more) for n, value in enumerate(values)]
    for one in done:
        put(home, one)
    return done
