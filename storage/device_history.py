"""One device over time: its canaries, and the last temperatures that its sensors read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from quantfarm.sensors import pick
from storage.reading import Reader

CANARIES = """
SELECT number, happened_at, series, runtime, build, clean, why, bench_pp, bench_tg, ppl
FROM canaries WHERE device = ? ORDER BY number DESC LIMIT ?
"""
#: The newest launches alone: their samples are what was seen last.
SEEN = """
WITH newest AS (
    SELECT cell, attempt, started_at FROM cells WHERE device = ? AND state = 'ok' ORDER BY started_at DESC LIMIT 20
)
SELECT cell, attempt, started_at, name, arg_max(value, t), max(value)
FROM samples JOIN newest USING (cell, attempt) WHERE regexp_full_match(name, '.+_c') AND value IS NOT NULL
GROUP BY ALL ORDER BY started_at DESC
"""
#: More canaries than these are not drawn.
KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """`happened_at`: UTC. Rates in tok/s. Canaries of one `series` are compared with each other."""

    number: int
    happened_at: datetime | None
    series: str
    runtime: str
    build: str
    clean: bool
    why: str
    bench_pp: float | None
    bench_tg: float | None
    ppl: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """The last reading of the launch that has one, and the highest in it; °C, UTC."""

    reading: str
    last_c: float
    highest_c: float
    at: datetime | None
    cell: str
    attempt: int


def canaries(reader: Reader, device: str, kept: int = KEPT) -> list[Canary]:
    """The last ones, oldest first."""
    return [Canary(**row) for row in reversed(reader.query(CANARIES, [device, kept]))]


def temperature(reader: Reader, device: str) -> Temperature | None:
    """Of the reading that stands for the device; None where its last launches have none."""
    rows = reader.rows(SEEN, [device])
    if not rows:
        return None
    newest = [row for row in rows if row[:2] == rows[0][:2]]
    name = pick.temperature({row[3]: row[4] for row in newest})
    for cell, attempt, at, reading, last, highest in newest:
        if reading == name:
            return Temperature(reading=name, last_c=last, highest_c=highest, at=at, cell=cell, attempt=attempt)
    return None
