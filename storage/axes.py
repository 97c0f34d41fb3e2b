"""Speeds of every setting that was measured, for tables along an axis."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping

from quantfarm.axes import SPEED
from quantfarm.report.axes_table import METRICS, Point
from storage.figures import join
from storage.reading import Reader
from storage.runs import Run, read_runs


def points(
    reader: Reader, cores: Mapping[str, int], device: str | None = None, model: str | None = None
) -> list[Point]:
    """One for each series and metric that is valid. `cores`: of each device by name."""
    series: dict[str, list[Run]] = defaultdict(list)
    for run in read_runs(reader, model):
        if run.ok and run.kind in SPEED and device in (None, run.device):
            series[run.series].append(run)
    return [point for runs in series.values() for metric in METRICS if (point := _point(runs, metric, cores))]


def _point(runs: list[Run], metric: str, cores: Mapping[str, int]) -> Point | None:
    joined, run = join(runs, metric), runs[0]
    if joined is None or not joined.valid:
        return None
    return Point(
        device=run.device,
        model=run.model,
        variant=run.variant,
        runtime=f"{run.runtime} ({run.build})" if run.build else run.runtime,
        kind=run.kind,
        metric=metric,
        unit=joined.unit,
        settings=json.loads(run.parameters),
        values=joined.values,
        cores=cores.get(run.device, 0),
        simulated=any(one.simulated for one in runs),
    )
