"""Every figure with its interval, as plain rows; failures are rows too."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from quantfarm.errors import unknown
from storage import atomic, rating_rows, table_files
from storage.figures import join
from storage.reading import Reader
from storage.runs import Run, check_device, read_runs

Row = dict[str, Any]

#: What each kind of workload measures, its main figure first: a failed cell has none of them.
METRICS = {
    "bench": ("bench_tg", "bench_pp", "load_time", "resident_peak", "committed_peak"),
    "app": ("decode_tps", "ttft", "load_time", "resident_peak", "committed_peak"),
    "sustained": ("sustained_steady", "sustained_first", "throttle_ratio", "time_to_steady", "sustained_energy"),
    "rolling": ("bits_per_byte_rolling",),
    "speculative": ("speed_up", "acceptance_rate"),
    "quality": ("ppl", "bits_per_byte", "kld_mean", "kld_median", "kld_p999", "kld_max", "same_top", "rms_dp"),
}
COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("device", "model", "variant", "runtime", "build", "workload", "metric")),
        ("value", pa.float64()),
        ("unit", pa.string()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("launches", pa.int64()),
        ("valid", pa.bool_()),
        ("reason", pa.string()),
        ("simulated", pa.bool_()),
        ("cell", pa.string()),
        ("series", pa.string()),
    ]
)


def results(
    reader: Reader, *, device: str | None = None, metric: str | None = None, model: str | None = None
) -> list[Row]:
    """One row per series and metric: the median over launches, and a row for every cell that failed for good.

    `n` is the number of launches, or of what one quality launch scored. `valid` is false, and `reason` says why,
    for a failure (`value` None) and for a figure that must not be used. Raises UsageError for unknown names.
    """
    judged = rating_rows.rows(reader, device=device, model=model) if metric in (None, rating_rows.METRIC) else []
    if judged and metric == rating_rows.METRIC:
        return judged
    check_device(reader, device)
    rows = [
        row for series in _by_series(_runs(reader, device, model, metric)) for row in _rows(series, metric)
    ] + judged
    if metric is not None and not rows:
        known = {name for run in _runs(reader, device, model) for name in run.figures} | {rating_rows.METRIC}
        known |= {name for kind in METRICS.values() for name in kind}
        if metric not in known:
            raise unknown("metric", metric, known)
    return rows


def _runs(reader: Reader, device: str | None, model: str | None, metric: str | None = None) -> list[Run]:
    return [run for run in read_runs(reader, model, device, metric) if device in (None, run.device)]


def _by_series(runs: Sequence[Run]) -> Iterator[list[Run]]:
    def order(run: Run) -> tuple[str, ...]:
        return (run.device, run.model, run.runtime, run.kind, run.workload, run.variant, run.series)

    for _, series in groupby(sorted(runs, key=lambda run: (*order(run), run.launch)), key=order):
        yield list(series)


def _rows(series: Sequence[Run], only: str | None) -> Iterator[Row]:
    good = [run for run in series if run.ok]
    for metric in dict.fromkeys(name for run in good for name in run.figures):
        if only in (None, metric):
            yield _figure(good, metric)
    for run in series:
        if not run.ok and only in (None, *METRICS.get(run.kind, ())):
            yield _failure(run, only or METRICS.get(run.kind, ("",))[0])


def _about(run: Run, metric: str) -> Row:
    return {
        "device": run.device,
        "model": run.model,
        "variant": run.variant,
        "runtime": run.runtime,
        "build": run.build,
        "workload": run.workload,
        "metric": metric,
    }


def _figure(good: Sequence[Run], metric: str) -> Row:
    joined = join(good, metric)
    assert joined
    summary = joined.summary
    return _about(good[0], metric) | {
        "value": summary.value,
        "unit": joined.unit,
        "low": summary.low,
        "high": summary.high,
        "n": summary.n,
        "launches": len(joined.values),
        "valid": joined.valid,
        "reason": joined.remark,
        "simulated": good[0].simulated,
        "cell": good[0].cell,
        "series": good[0].series,
    }


def _failure(run: Run, metric: str) -> Row:
    return _about(run, metric) | {
        "value": None,
        "unit": "",
        "low": None,
        "high": None,
        "n": 0,
        "launches": 0,
        "valid": False,
        "reason": run.failure,
        "simulated": run.simulated,
        "cell": run.cell,
        "series": run.series,
    }


def to_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """A list of objects; what is no finite number is null."""
    return json.dumps([_finite(row) for row in rows], ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """With a header line; None is empty, truth is `true` or `false`."""
    return table_files.to_csv(rows, COLUMNS)


def to_parquet(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Whole or not at all. Raises FarmError when there is no room."""
    atomic.write_atomic(path, table_files.to_parquet(rows, COLUMNS))


def _finite(row: Mapping[str, Any]) -> Row:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
