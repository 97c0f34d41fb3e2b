"""What a made-up store holds besides its cells and figures: traces, records of devices, reports of nights."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from quantfarm.health import By, Canary, DeviceState, Transition
from quantfarm.nightly.series import key_of
from quantfarm.nightly.verdicts import Kind, Level, NightReport, Verdict
from quantfarm.nouns import Cell, Landed, Measurement, Workload, parameters
from quantfarm.suites import DEFAULTS
from storage import nights as stored
from storage.devices import CANARIES, TRANSITIONS
from storage.home import Home
from storage.landing import TraceWriter, land

#: Sensor, name and level of what is sampled ten times a second.
SENSORS = (
    ("proc", "rss_mib", 900.0),
    ("proc", "rss_anon_mib", 300.0),
    ("cpufreq", "cpu0_mhz", 2400.0),
    ("thermal_zone", "cpu_c", 60.0),
    ("rapl", "package_w", 15.0),
)
_LEVELS = ", ".join(f"('{source}', '{name}', {level})" for source, name, level in SENSORS)
_NOISE = "(hash(cell, attempt, {0}) % 1000) / 1000.0"
#: Of the cells in `landed_cells`. In the order in which an ingest puts them: cell by cell.
TRACES = (
    f"""INSERT INTO samples
    SELECT cell, attempt, 1000000000000 + step * 100000000, source, name,
           level * (0.98 + 0.04 * {_NOISE.format("step, name")})
    FROM landed_cells, range(CAST($steps AS BIGINT)) AS r(step), (VALUES {_LEVELS}) AS v(source, name, level)
    ORDER BY cell, attempt, step""",  # noqa: S608 (our own names)
    """INSERT INTO repetitions
    SELECT cell, attempt, phase, workload_kind, repetition, 128, 0, 2.0,
           1000000000000 + (repetition * 2 + place) * 2000000000,
           1000000000000 + (repetition * 2 + place + 1) * 2000000000
    FROM landed_cells, range(5) AS r(repetition), (VALUES ('prefill', 0), ('decode', 1)) AS v(phase, place)
    WHERE workload_kind IN ('bench', 'app')""",
    f"""INSERT INTO chunks
    SELECT cell, attempt, i, 255, 255 * (ln(2 + 40 / bits_per_weight) + 0.4 * sin(i) + 0.0001 * {_NOISE.format("i")})
    FROM landed_cells, range(CAST($chunks AS BIGINT)) AS r(i)
    WHERE workload_kind = 'quality' AND (i < 4 OR NOT contains(parameters, 'canary'))""",  # noqa: S608
    """INSERT INTO texts
    SELECT cell, attempt, json_extract_string(parameters, '$.text_sha256'), 'made up', 51000, 100, 512, true, 200000
    FROM landed_cells WHERE workload_kind = 'quality'""",
    f"""INSERT INTO items
    SELECT cell, attempt, doc, 'madeup-' || doc, '', 0, wrong, wrong, wrong = 0, wrong = 0, 0.5 - wrong,
           [-1.0, -1.5], false
    FROM (SELECT *, CAST({_NOISE.format("doc")} > 0.6 AS INTEGER) AS wrong
          FROM landed_cells, range(CAST($documents AS BIGINT)) AS r(doc) WHERE workload_kind = 'tasks')""",  # noqa: S608
)


def perplexity(bits: float) -> float:
    return 2 + 40 / bits


def conditions(cell: Cell) -> dict[str, Any]:
    """As much as a real launch says of itself."""
    return {
        "made_up": "nothing here was measured",
        "os": "no system",
        "system": "MADE UP | SSE3 = 1 | AVX = 1 | AVX2 = 1 | F16C = 1 | FMA = 1",
        "versions": {"quantfarm": "0", "python": "3.11.2", cell.runtime: "1.0", "numpy": "2.3"},
        "library_sha256": "ab" * 32,
        "backend": "cpu",
        "settings": {
            **cell.workload.settings,
            "n_ctx": 768,
            "n_threads_batch": 4,
            "offload_kqv": False,
            "use_mmap": True,
        },
        "governor": "performance",
        "on_mains": True,
        "load": [0.1, 0.1, 0.1],
        "memory_available_mib": 6000,
        "temperature_c": {"before": 40.0, "after": 60.0},
        "processes": ["none"] * 5,
        "reproduce": f"quantfarm sweep --model {cell.variant.model} --quants {cell.variant.quant} --fresh",
    }


def sustained(home: Home, like: Sequence[Landed], count: int) -> None:
    """Launches of ten minutes with their raw traces, landed through the real door."""
    workload = Workload(kind="sustained", parameters=parameters({**DEFAULTS["sustained"], "threads": 4}))
    several = [one for one in like if one.cell.workload.kind == "bench"]
    for one in list({one.cell.variant.name: one for one in several}.values())[:count]:
        cell = replace(one.cell, workload=workload)
        with TraceWriter(home, cell.id, 1) as trace:
            for event in _sustained_events():
                trace.write(json.dumps(event))
        figure = Measurement(metric="sustained_steady", value=20.0, unit="tok/s", low=19.0, high=21.0)
        land(home, replace(one, cell=cell, measurements=(figure,)), trace.path)


def _sustained_events(runs: int = 30, tokens: int = 500) -> Iterator[dict[str, Any]]:
    gap, t = 40_000_000, 10**12
    yield {"event": "begin", "schema": 1, "t": t, "clock": "monotonic_ns", "runner": "made up", "versions": {}}
    yield {"event": "sustained", "t": t, "n_prompt": 32, "n_gen": tokens, "runs": runs, "more": 5, "most": runs}
    for run in range(runs):
        submit, slow = t, 1 + 0.3 * (1 - math.exp(-run / 4))
        times = [int(submit + 1e8 + n * gap * slow) for n in range(tokens)]
        for at in range(submit, times[-1], 10**8):
            values = {"rss_mib": 900.0 + run, "rss_anon_mib": 300.0, "cpu0_mhz": 2400 / slow}
            yield {"event": "sample", "t": at, "source": "proc", "values": values}
            if at % 10**9 < 10**8:
                yield {"event": "sample", "t": at, "source": "thermal_zone", "values": {"cpu_c": 90 - 50 / slow}}
        about = {"mode": "app", "repetition": run, "tokens": 32, "depth": 0}
        yield {"event": "prefill", "t": times[0], **about, "seconds": 0.1}
        yield {"event": "decode", "t": times[-1], "mode": "app", "repetition": run, "submit": submit, "times": times}
        t = times[-1] + 10**6
    yield {"event": "end", "t": t, "ok": True}


def devices(home: Home, names: Sequence[tuple[str, bool]], first: datetime, days: int) -> None:
    """Records: a week's canary for as long as there are nights, and the states around it."""
    for number, (name, simulated) in enumerate(names):
        folder = home.folder("devices", name)
        steps = [DeviceState.REGISTERED, *([DeviceState.CHECKING, DeviceState.READY] * (1 + days // 7))]
        if number % 7 == 3:
            steps.append(DeviceState.UNHEALTHY)
        moves = zip([None, *steps], steps, strict=False)
        rows = [
            Transition(
                device=name,
                before=before,
                to=to,
                reason="made up",
                by=By.FARM,
                at=(first + timedelta(days=n)).isoformat(),
            )
            for n, (before, to) in enumerate(moves)
        ]
        _write(folder / TRANSITIONS, rows)
        canaries = [
            Canary(
                device=name,
                at=_day(first, day),
                series="made up",
                runtime="llama_cpp",
                build="llama_cpp 1.0",
                clean=day % 50 != 7,
                why="" if day % 50 != 7 else "made up: slower",
                figures={"bench_pp": 900.0 + day, "bench_tg": 100.0, "ppl": 30.0},
                conditions={"made_up": True, "simulated": simulated},
            )
            for day in range(0, days, 7)
        ]
        _write(folder / CANARIES, canaries)


def _day(first: datetime, number: int) -> str:
    return (first + timedelta(days=number)).isoformat()


def _write(path: Any, rows: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps({"schema": 1, **asdict(row)}) + "\n" for row in rows))


def nights(home: Home, watched: Sequence[Cell], first: datetime, count: int) -> None:
    """A report for each night, with a verdict for each watched series."""
    for number in range(count):
        began = first + timedelta(days=number + 1)
        night = began.date().isoformat()
        verdicts = tuple(_verdict(cell, night, number, place) for place, cell in enumerate(watched))
        report = NightReport(
            night=night,
            began_at=began.isoformat(),
            finished_at=(began + timedelta(hours=1)).isoformat(),
            sweeps=(f"night-{night}",),
            counts={"ok": len(watched), "failed": 0},
            verdicts=verdicts,
        )
        stored.keep(home, report)


def _verdict(cell: Cell, night: str, number: int, place: int) -> Verdict:
    kind = Kind.REGRESSION if (number + place) % 97 == 0 else Kind.UNCHANGED if number > 10 else Kind.YOUNG
    level = Level(value=20.0, unit="tok/s", low=19.0, high=21.0, n=10, nights=(night, night), cell=cell.id)
    return Verdict(
        series=key_of(cell, "bench_tg"),
        kind=kind,
        reason="made up",
        night=night,
        old=level,
        new=level,
        ratio=1.0,
        p=0.5,
        simulated=cell.profile.simulated,
    )
