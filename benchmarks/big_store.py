"""A large home that is made up: 10⁷ samples and 10⁵ measurements, published as any other, in a minute or two.

    python benchmarks/big_store.py HOME [--samples 10000000] [--devices 30] …

For benchmarks and tests of what reads a store. Nothing in it was measured: every device and model is called
`madeup-…`, every condition says so. Only the devices that are called `…-sim` are marked as simulated, because the
farm treats those differently (they judge nobody, and nobody judges them), and the others are what costs time.

What a sweep lands goes in through the store's own rows and schema, a sweep at a time as an ingest would; the samples
are made inside DuckDB. Sustained launches have real landed files with raw traces, nights their reports, devices their
records: the ingest that publishes carries them in.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import big_store_records as records
import duckdb

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
from quantfarm.suites import DEFAULTS
from storage.database import open_writer
from storage.home import Home
from storage.ingest import ingest, working_path
from storage.load import BATCH, CURRENT
from storage.migrate import migrate
from storage.rows import File, rows_of

FIRST = datetime(2026, 1, 1, 2, tzinfo=UTC)
KINDS = ("desk", "phone", "mac", "pi", "sim")
RUNTIMES = {
    "desk": ("llama_cpp", "transformers"),
    "phone": ("llama_native",),
    "mac": ("llama_cpp", "mlx"),
    "pi": ("llama_cpp",),
    "sim": ("llama_cpp",),
}
#: Bits per weight by quantization; the same again with an importance matrix.
QUANTS = {
    **{"F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.56, "Q5_K_M": 5.7, "Q5_K_S": 5.5, "Q4_K_M": 4.9, "Q4_K_S": 4.6},
    **{"Q4_0": 4.5, "IQ4_XS": 4.3, "Q3_K_L": 4.2, "Q3_K_M": 3.9, "Q3_K_S": 3.5, "IQ3_XXS": 3.1, "Q2_K": 2.7},
}
TEXT = hashlib.sha256(b"a text that nobody wrote").hexdigest()
FAILED = Outcome(state=State.FAILED, stage="load", reason="made up: out of memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The first device has every model under every runtime, each other one model. `samples`: rows at least."""

    devices: int = 30
    models: int = 6
    variants: int = 20
    nights: int = 365
    watched: int = 10  # devices
    sustained: int = 8  # launches with raw traces
    chunks: int = 200
    documents: int = 500
    samples: int = 10_000_000


SMALL = Size(devices=4, models=2, variants=5, nights=8, watched=2, sustained=1, chunks=12, documents=20, samples=20_000)


def make(home: Home, size: Size = SMALL) -> int:
    """Fills an empty home; the version that is published."""
    dice = random.Random(0)  # noqa: S311 (the same store every time)
    sweeps = [*_sweeps(size, dice), *_nights(size, dice)]
    steps = 1 + size.samples // (len(records.SENSORS) * sum(map(len, sweeps)))
    working = working_path(home)
    working.parent.mkdir(parents=True)
    with contextlib.closing(open_writer(working)) as connection:
        migrate(connection)
        for sweep in sweeps:
            for at in range(0, len(sweep), BATCH):
                _load(connection, sweep[at : at + BATCH], size, steps)
    records.sustained(home, [one for one in sweeps[0] if one.cell.launch == 0], size.sustained)
    records.devices(home, [(name, name.endswith("sim")) for name, _ in _devices(size)], FIRST, size.nights)
    records.nights(home, watched(size), FIRST, size.nights)
    return ingest(home)


def watched(size: Size) -> list[Cell]:
    """What is measured every night: two variants on each watched device."""
    return [
        _cell(device, _models(size, n)[0], variant, RUNTIMES[kind][0], BENCH, 0)
        for n, (device, kind) in enumerate(_devices(size)[: size.watched])
        for variant in _variants(size)[:2]
    ]


def _devices(size: Size) -> list[tuple[str, str]]:
    kinds = [KINDS[n % len(KINDS)] for n in range(size.devices)]
    return [(f"madeup-{n:02d}-{kind}", kind) for n, kind in enumerate(kinds)]


def _models(size: Size, device: int) -> list[str]:
    all_models = [f"madeup-model-{n}" for n in range(size.models)]
    return all_models if device == 0 else [all_models[device % size.models]]


def _variants(size: Size) -> list[tuple[str, bool]]:
    return [(quant, imatrix) for imatrix in (False, True) for quant in QUANTS][: size.variants]


BENCH = Workload(kind="bench", parameters=parameters({**DEFAULTS["bench"], "threads": 4}))
DEEP = Workload(kind="bench", parameters=parameters({**DEFAULTS["bench"], "threads": 4, "n_depth": 4096}))
APP = Workload(kind="app", parameters=parameters({**DEFAULTS["app"], "threads": 4}))
QUALITY = Workload(kind="quality", parameters=parameters({**DEFAULTS["quality"], "text_sha256": TEXT, "threads": 4}))
CANARY = Workload(
    kind="quality",
    parameters=parameters({**DEFAULTS["quality"], "text_sha256": TEXT, "threads": 4, "n_chunks": 4, "canary": True}),
)
TASKS = Workload(kind="tasks", parameters=parameters({**DEFAULTS["tasks"], "task": "madeup_task", "threads": 4}))


def _sweeps(size: Size, dice: random.Random) -> Iterator[list[Landed]]:
    """One for each device, model and runtime; the first device that is not simulated judges, others take canaries."""
    judged: set[tuple[str, str]] = set()
    number = 0
    for n, (device, kind) in enumerate(_devices(size)):
        for model in _models(size, n):
            for runtime in RUNTIMES[kind]:
                first = (model, runtime) not in judged and kind != "sim"
                judged |= {(model, runtime)} if first else set()
                began = FIRST + timedelta(days=number % max(1, size.nights), hours=number % 20)
                asked = _asked(size, device, model, runtime, QUALITY if first else CANARY, 6 + n % 4)
                yield [_landed(cell, began, f"madeup-{number:04d}", dice) for cell in asked]
                number += 1


def _asked(size: Size, device: str, model: str, runtime: str, quality: Workload, launches: int) -> Iterator[Cell]:
    for place, variant in enumerate(_variants(size)):
        for launch in range(launches):
            yield _cell(device, model, variant, runtime, BENCH, launch)
            yield _cell(device, model, variant, runtime, APP, launch)
            if place < 3:
                yield _cell(device, model, variant, runtime, DEEP, launch)
        yield _cell(device, model, variant, runtime, quality, 0)
        if quality is QUALITY:
            yield _cell(device, model, variant, runtime, TASKS, 0)


def _nights(size: Size, dice: random.Random) -> Iterator[list[Landed]]:
    """The same cells again every night: attempts of a year."""
    for night in range(size.nights):
        began = FIRST + timedelta(days=night + 1)
        date = began.date().isoformat()
        yield [_landed(cell, began, f"night-{date}", dice, night + 2, date) for cell in watched(size)]


def _cell(device: str, model: str, variant: tuple[str, bool], runtime: str, workload: Workload, launch: int) -> Cell:
    quant, imatrix = variant
    options = parameters(imatrix=True) if imatrix else ()
    recipe = Recipe(source=f"madeup:{model}", quantizer="gguf", quant=quant, tool="none", options=options)
    return Cell(
        profile=DeviceProfile(name=device, chip="made up", cores=4, memory_mib=8192, simulated=device.endswith("sim")),
        variant=Variant(model=model, format="gguf", quant=quant, recipe=recipe),
        runtime=runtime,
        build=f"{runtime} 1.0",
        workload=workload,
        launch=launch,
    )


def _landed(cell: Cell, began: datetime, sweep: str, dice: random.Random, attempt: int = 1, night: str = "") -> Landed:
    bits = QUANTS[cell.variant.quant]
    failed = cell.launch == 0 and cell.workload is APP and dice.random() < 0.1
    return Landed(
        cell=cell,
        attempt=attempt,
        outcome=FAILED if failed else Outcome(state=State.OK),
        measurements=() if failed else tuple(_figures(cell, bits, dice)),
        artifact=_artifact(cell, bits),
        conditions=records.conditions(cell),
        started_at=(began + timedelta(seconds=cell.launch)).isoformat(timespec="milliseconds"),
        seconds=60.0,
        sweep=sweep,
        night=night,
    )


def _artifact(cell: Cell, bits: float) -> Artifact:
    made = cell.variant.recipe
    types = {"F32": 73, cell.variant.quant: 120, "Q6_K": 15}
    return Artifact(
        sha256=hashlib.sha256(made.id.encode()).hexdigest(),
        size=int(bits * 1.5e8),
        recipe=made,
        bits_per_weight=bits + 0.01 * len(made.options),
        types=types,
    )


def _figures(cell: Cell, bits: float, dice: random.Random) -> Iterator[Measurement]:
    def figure(metric: str, value: float, unit: str, **more: Any) -> Measurement:
        return Measurement(metric=metric, value=value * dice.uniform(0.98, 1.02), unit=unit, **more)

    speed, memory = 200 / bits, 150 * bits + 200
    if cell.workload.kind in ("bench", "app"):
        spread = tuple(speed * dice.uniform(0.98, 1.02) for _ in range(5))
        decode = "bench_tg" if cell.workload.kind == "bench" else "decode_tps"
        yield figure(decode, speed, "tok/s", n=5, samples=spread)
        yield figure("bench_pp", 900.0, "tok/s", n=5) if decode == "bench_tg" else figure("ttft", 0.2, "s", n=5)
        yield figure("load_time", 0.02 * memory / 100, "s")
        yield figure("resident_peak", memory, "MiB")
        yield figure("committed_peak", memory * 0.8, "MiB")
    elif cell.workload.kind == "quality":
        ppl = records.perplexity(bits)
        yield Measurement(metric="ppl", value=ppl, unit="", n=51_000, low=ppl * 0.98, high=ppl * 1.02)
        yield figure("kld_mean", 0.4 / bits**2, "nat", n=51_000, low=0.39 / bits**2, high=0.41 / bits**2)
        yield figure("same_top", 100 - 20 / bits, "%", n=51_000)
    else:
        yield figure("acc_madeup_task", 0.6 - 0.3 / bits, "", n=500, low=0.5, high=0.6)


def _load(connection: duckdb.DuckDBPyConnection, batch: Sequence[Landed], size: Size, steps: int) -> None:
    """As an ingest does it: in one transaction, by the cells' ids."""
    files = [File(one, "made up") for one in sorted(batch, key=lambda one: one.cell.id)]
    rows = rows_of(files)
    connection.begin()
    connection.register("landed_cells", rows.cells)
    connection.register("landed_measurements", rows.measurements)
    connection.execute("INSERT INTO cells BY NAME SELECT * FROM landed_cells")
    connection.execute("INSERT INTO measurements BY NAME SELECT * FROM landed_measurements")
    connection.execute(CURRENT)
    for sql in records.TRACES:
        connection.execute(sql, _named(sql, {"steps": steps, "chunks": size.chunks, "documents": size.documents}))
    connection.commit()
    connection.unregister("landed_cells")
    connection.unregister("landed_measurements")


def _named(sql: str, values: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in values.items() if f"${name}" in sql}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    for name, value in asdict(Size()).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = vars(parser.parse_args())
    home, began = Home(given.pop("home")), time.monotonic()
    version = make(home, Size(**given))
    with contextlib.closing(duckdb.connect(str(working_path(home)), read_only=True)) as connection:
        tables = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        counts = {t: connection.execute(f"SELECT count(*) FROM {t}").fetchall()[0][0] for t in sorted(tables)}  # noqa: S608
    print(json.dumps({"version": version, "seconds": round(time.monotonic() - began, 1), "rows": counts}, indent=1))


if __name__ == "__main__":
    main()
