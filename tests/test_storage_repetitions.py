"""Each repetition is a row with its time on the device's clock, joined to what the sensors read meanwhile."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from quantfarm.sensors import stream
from storage.compare import equal
from storage.database import open_writer
from storage.home import Home
from storage.ingest import ingest, rebuild, working_path
from storage.migrate import known, migrate
from storage.reading import Reader
from storage.verify import verify
from tests.storing import APP, FAILED, QUALITY, cell, landed, put

S = 10**9
BEGIN = {"event": "begin", "schema": 1, "t": 0, "runner": "r", "versions": {}}
END = {"event": "end", "t": 90 * S, "ok": True}
READINGS = "SELECT repetition, source, name, n, mean, least, most FROM repetition_readings WHERE phase = ? ORDER BY ALL"


def bench(phase: str, repetition: int, began: float, seconds: float, **more: Any) -> dict[str, Any]:
    figures = {"tokens": 128, "depth": 0, "seconds": seconds, "until": round((began + seconds) * S)}
    return {"event": phase, "t": 80 * S, "mode": "bench", "repetition": repetition, **figures, **more}


def sample(t: float, source: str = "thermal_zone", **values: float) -> dict[str, Any]:
    return {"event": "sample", "t": round(t * S), "source": source, "values": values}


def lines(*events: dict[str, Any]) -> list[str]:
    return [json.dumps(event) for event in (BEGIN, *events, END)]


@pytest.fixture
def farm(home: Path) -> Home:
    return Home(home)


def ask(farm: Home, sql: str, *values: object) -> list[tuple[Any, ...]]:
    with Reader(farm) as reader:
        return [tuple(row.values()) for row in reader.query(sql, list(values))]


def test_a_repetition_holds_the_samples_taken_while_it_ran(farm: Home) -> None:
    events = [bench("decode", 0, 10, 2), bench("decode", 1, 12.5, 2), bench("prefill", 0, 5, 1)]
    heat = [sample(9.9, cpu_c=99), sample(10, cpu_c=40), sample(11, cpu_c=44), sample(12.2, cpu_c=99)]
    heat += [sample(13, cpu_c=50, gpu_c=30), sample(14, source="hwmon", cpu_c=52), sample(14.6, cpu_c=99)]
    put(farm, landed(cell()), lines(*events, *heat))
    ingest(farm)
    assert ask(farm, READINGS, "decode") == [
        (0, "thermal_zone", "cpu_c", 2, 42, 40, 44),
        (1, "hwmon", "cpu_c", 1, 52, 52, 52),
        (1, "thermal_zone", "cpu_c", 1, 50, 50, 50),
        (1, "thermal_zone", "gpu_c", 1, 30, 30, 30),
    ]
    assert ask(farm, READINGS, "prefill") == []
    columns = "phase, mode, repetition, tokens, seconds, began, finished"
    assert ask(farm, f"SELECT {columns} FROM repetitions ORDER BY began") == [  # noqa: S608
        ("prefill", "bench", 0, 128, 1.0, 5 * S, 6 * S),
        ("decode", "bench", 0, 128, 2.0, 10 * S, 12 * S),
        ("decode", "bench", 1, 128, 2.0, round(12.5 * S), round(14.5 * S)),
    ]


def test_an_app_s_prompt_ends_and_its_decode_begins_with_the_first_token(farm: Home) -> None:
    prompt = {"event": "prefill", "t": 50 * S, "mode": "app", "repetition": 0, "tokens": 64, "depth": 0, "seconds": 2.0}
    decode = {"event": "decode", "t": 50 * S, "mode": "app", "repetition": 0, "submit": 10 * S}
    decode["times"] = [12 * S, 13 * S, 14 * S]
    put(farm, landed(cell(workload=APP)), lines(prompt, decode, sample(11, cpu_c=40), sample(13.5, cpu_c=60)))
    ingest(farm)
    assert ask(farm, "SELECT phase, tokens, seconds, began, finished FROM repetitions ORDER BY began") == [
        ("prefill", 64, 2.0, 10 * S, 12 * S),
        ("decode", 2, 2.0, 12 * S, 14 * S),
    ]
    assert ask(farm, READINGS, "prefill") == [(0, "thermal_zone", "cpu_c", 1, 40, 40, 40)]
    assert ask(farm, READINGS, "decode") == [(0, "thermal_zone", "cpu_c", 1, 60, 60, 60)]


def test_a_tool_that_does_not_say_when_has_repetitions_without_readings(farm: Home) -> None:
    put(farm, landed(cell()), lines(bench("decode", 0, 10, 2, until=None), sample(11, cpu_c=40)))
    ingest(farm)
    assert ask(farm, "SELECT seconds, began, finished FROM repetitions") == [(2.0, None, None)]
    assert ask(farm, READINGS, "decode") == []


@pytest.mark.parametrize(
    "garbage",
    [
        {"seconds": 1e300},
        {"until": -(2**63)},
        {"seconds": "soon"},
        {"mode": "app", "times": [-(2**63), 2**63 - 1]},
        {"mode": "app", "times": []},
        {"mode": 5, "repetition": -1, "tokens": 10**12},
    ],
)
def test_a_failed_run_s_garbage_stops_nothing(farm: Home, garbage: dict[str, Any]) -> None:
    put(farm, landed(cell(), outcome=FAILED), lines(bench("decode", 0, 10, 2) | garbage))
    put(farm, landed(cell(1)), lines(bench("decode", 0, 10, 2)))
    ingest(farm)
    assert ask(farm, "SELECT count(*) FROM repetitions WHERE finished = ?", 12 * S)[0][0] >= 1
    assert ask(farm, "SELECT count(*) FROM cells") == [(2,)]


def test_a_rebuild_gives_the_same_and_verify_agrees(farm: Home) -> None:
    for launch in range(3):
        put(
            farm,
            landed(cell(launch)),
            lines(bench("decode", 0, 10 + launch / 7, 2), sample(11.1, cpu_c=40 + launch / 3)),
        )
        ingest(farm)
    before = ask(farm, READINGS, "decode")
    grown = farm.db / "grown.duckdb"
    grown.write_bytes(working_path(farm).read_bytes())
    rebuild(farm)
    assert equal(grown, working_path(farm))
    assert ask(farm, READINGS, "decode") == before
    assert len(before) == 3
    assert verify(farm) == []


def test_a_database_from_before_is_filled_from_the_files_and_equal_to_a_rebuilt_one(farm: Home) -> None:
    """What an earlier version of this program had loaded gets its repetitions, and nothing twice."""
    put(farm, landed(cell(), figures={"bench_tg": 8.0}), lines(bench("decode", 0, 10, 2), sample(11, cpu_c=40)))
    put(farm, landed(cell(workload=QUALITY), figures={"ppl": 12.5}))
    _ = farm.db
    with contextlib.closing(open_writer(working_path(farm))) as connection:
        migrate(connection, known()[:3])
        connection.execute(
            "INSERT INTO cells SELECT ?, 1, true, 'd', 'c', false, 'm', 'v', 'q', 'f', 'r',"
            " NULL, NULL, NULL, NULL, NULL, 'rt', 'b', 'bench', 'w', '{}', 0, 's', 'ok', '', '', false,"
            " NULL, 1, 's', '{}', NULL, NULL, 'x'",
            [cell().id],
        )
        connection.execute("INSERT INTO samples VALUES (?, 1, 5, 'proc', 'rss_mib', 1)", [cell().id])
    ingest(farm)
    assert ask(farm, READINGS, "decode") == [(0, "thermal_zone", "cpu_c", 1, 40, 40, 40)]
    assert ask(farm, "SELECT count(*) FROM cells") == [(2,)]
    assert verify(farm) == []


def test_this_machine_s_own_sensors_come_to_stand_beside_a_repetition(farm: Home) -> None:
    """The whole way: a shell's looks, placed by the clocks of `begin`, landed, ingested, joined."""
    clocks = {"boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME), "wall_ns": time.time_ns()}
    begin = {**BEGIN, "t": time.monotonic_ns(), "clocks": clocks}
    watch = ["sh", "-c", stream.script(["proc_memory"], every_s=0.1)]
    with subprocess.Popen(watch, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdin and shell.stdout
        said = [shell.stdout.readline() for _ in range(80)]  # eleven looks; the first may be stamped 10 ms early
        shell.stdin.close()
    now = time.monotonic_ns()
    ran = bench("decode", 0, begin["t"] / S, (now - begin["t"]) / S)
    looks = stream.to_events(stream.read(said), begin)
    put(farm, landed(cell()), [json.dumps(event) for event in (begin, ran, *looks, {**END, "t": now})])
    ingest(farm)
    found = {row[2]: row for row in ask(farm, READINGS, "decode")}
    assert found["mem_total_mib"][:2] == (0, "proc_memory")
    assert found["mem_total_mib"][3] >= 5
    assert 0 < found["mem_available_mib"][4] < found["mem_total_mib"][5]
