"""Bencher Metric Format: benchmark -> measure -> value with its bounds (bencher.dev, Bencher Metric Format).

A benchmark is one device, model, variant, runtime and workload; its build is none of its name, so that its series goes
on when the runtime changes. A measure is a metric by its name here, in its unit here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

#: The most letters of a benchmark's name.
NAME = 1024
PARTS = ("device", "model", "variant", "runtime", "workload")


def text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Of rows of results (storage.results), oldest first: of two builds of one benchmark the later counts.

    Failures, figures that must not be used and simulated devices have no value there, and are left out.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        if usable(row):
            found.setdefault(name(row), {})[row["metric"]] = _metric(row)
    return json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def usable(row: Mapping[str, Any]) -> bool:
    return bool(row["valid"]) and not row["simulated"] and _finite(row["value"])


def name(row: Mapping[str, Any]) -> str:
    return " / ".join(str(row[part]) for part in PARTS if row[part])[:NAME]


def _metric(row: Mapping[str, Any]) -> dict[str, float]:
    bounds = {"lower_value": row["low"], "upper_value": row["high"]}
    return {"value": row["value"]} | {key: value for key, value in bounds.items() if _finite(value)}


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
