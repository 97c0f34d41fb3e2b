"""One launch over time: what was sampled, when its repetitions were, when its tokens came. For plots.

All on one axis: seconds since the first sample or repetition. What is more than a plot can show is put into buckets
inside DuckDB; a bucket keeps its least and greatest value, so that a peak is seen at any width.
"""

from __future__ import annotations

import contextlib
import glob
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from quantfarm.errors import UsageError
from storage.database import SETTINGS
from storage.home import Home
from storage.names import trace_path
from storage.reading import Reader
from storage.traces import READ

#: About as many as a plot has pixels for.
BUCKETS = 1000
#: The end of a reading's name -> its unit.
UNITS = {
    **{"c": "°C", "w": "W", "uj": "µJ", "v": "V", "a": "A", "mhz": "MHz", "rpm": "1/min", "ms": "ms"},
    **{"mib": "MiB", "pct": "%"},
}
SPAN = """
SELECT min(began), max(finished) FROM (
    SELECT min(t) AS began, max(t) AS finished FROM samples WHERE cell = $cell AND attempt = $attempt
    UNION ALL
    SELECT min(began), max(finished) FROM repetitions WHERE cell = $cell AND attempt = $attempt
)
"""
READINGS = """
SELECT source, name, (avg(t) - $zero) / 1e9 AS s, avg(value) AS mean, min(value) AS least, max(value) AS most,
       count(*) AS n
FROM samples WHERE cell = $cell AND attempt = $attempt AND t IS NOT NULL
GROUP BY source, name, (t - $zero) * $buckets // ($last - $zero + 1) ORDER BY source, name, s
"""
REPETITIONS = """
SELECT phase, mode, repetition, tokens, depth, seconds, (began - $zero) / 1e9 AS began_s,
       (finished - $zero) / 1e9 AS finished_s, tokens / nullif(seconds, 0) AS tokens_per_s
FROM repetitions WHERE cell = $cell AND attempt = $attempt ORDER BY began, phase, repetition
"""
DECODES = "{event: 'VARCHAR', repetition: 'INTEGER', submit: 'BIGINT', times: 'BIGINT[]'}"
TOKENS = f"""
WITH token AS (
    SELECT repetition, unnest(times) AS t, unnest(list_concat([NULL], times[:-2])) AS before
    FROM {READ.format(columns=DECODES)} WHERE event = 'decode' AND len(times) > 0
), span AS (SELECT max(t) - ? + 1 AS length, ? AS zero FROM token)
SELECT repetition, (avg(t) - any_value(zero)) / 1e9 AS s, avg(t - before) / 1e6 AS mean_ms,
       min(t - before) / 1e6 AS least_ms, max(t - before) / 1e6 AS most_ms, count(*) AS n
FROM token, span WHERE before IS NOT NULL
GROUP BY repetition, (t - zero) * ? // length ORDER BY s
"""  # noqa: S608 (our own words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """`zero`: ns of the device's monotonic clock where the axis begins; None of a launch without samples and times.

    `readings`: source, name, s, mean, least, most, n (values in it). `repetitions`: phase, mode, repetition, tokens,
    depth, seconds, began_s, finished_s (None: the runtime does not say when), tokens_per_s.
    """

    zero: int | None
    readings: pa.Table
    repetitions: pa.Table


def unit(name: str) -> str:
    """Of a reading, by the end of its name: `cpu_c` is in °C. Empty for a number without one."""
    return UNITS.get(name.rpartition("_")[2], "")


def timeline(reader: Reader, cell: str, attempt: int, buckets: int = BUCKETS) -> Timeline:
    """At most so many buckets of each reading. Raises UsageError for an attempt that the results do not have."""
    which = {"cell": cell, "attempt": attempt}
    if not reader.rows("SELECT 1 FROM cells WHERE cell = $cell AND attempt = $attempt", which):
        raise UsageError(f"the results have no attempt {attempt} of cell '{cell}'")
    zero, last = reader.rows(SPAN, which)[0]
    span = {"zero": zero or 0, "last": last or 0, "buckets": max(1, buckets)}
    return Timeline(
        zero=zero,
        readings=reader.arrow(READINGS, which | span),
        repetitions=reader.arrow(REPETITIONS, which | {"zero": zero or 0}),
    )


def tokens(home: Home, cell: str, attempt: int, zero: int, buckets: int = BUCKETS) -> pa.Table | None:
    """Gaps between tokens, from the raw trace: repetition, s (since `zero`), mean_ms, least_ms, most_ms, n.

    At most so many buckets, and one more for each repetition: none spans two. The time of each token is in the trace
    alone. None where that is gone or cannot be read (`quantfarm db verify` says which), and where the runtime does
    not say when each token came.
    """
    path = trace_path(home, cell, attempt)
    with contextlib.closing(duckdb.connect(config=SETTINGS)) as connection:
        try:
            cursor = connection.execute(TOKENS, [glob.escape(str(path)), zero, zero, max(1, buckets)])
            found = cursor.to_arrow_table()
        except duckdb.Error:
            return None
    return found if found.num_rows else None
