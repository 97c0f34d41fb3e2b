"""Landed cells as rows of the tables `cells` and `measurements`, in Arrow."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from quantfarm import codec
from quantfarm.nouns import Landed, Measurement
from storage.landings import check_name

CELLS = pa.schema(
    [
        ("cell", pa.string()),
        ("attempt", pa.int32()),
        ("current", pa.bool_()),
        ("device", pa.string()),
        ("chip", pa.string()),
        ("simulated", pa.bool_()),
        ("model", pa.string()),
        ("variant", pa.string()),
        ("quant", pa.string()),
        ("format", pa.string()),
        ("recipe", pa.string()),
        ("artifact", pa.string()),
        ("size", pa.int64()),
        ("bits_per_weight", pa.float64()),
        ("types", pa.string()),
        ("fallbacks", pa.string()),
        ("runtime", pa.string()),
        ("build", pa.string()),
        ("workload_kind", pa.string()),
        ("workload", pa.string()),
        ("parameters", pa.string()),
        ("launch", pa.int32()),
        ("series", pa.string()),
        ("state", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("retryable", pa.bool_()),
        ("started_at", pa.timestamp("us")),
        ("seconds", pa.float64()),
        ("sweep", pa.string()),
        ("night", pa.string()),
        ("conditions", pa.string()),
        ("trace_sha256", pa.string()),
        ("trace_size", pa.int64()),
        ("file_sha256", pa.string()),
    ]
)
MEASUREMENTS = pa.schema(
    [
        ("cell", pa.string()),
        ("attempt", pa.int32()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("unit", pa.string()),
        ("n", pa.int32()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("remark", pa.string()),
        ("samples", pa.list_(pa.float64())),
    ]
)


@dataclass(frozen=True, slots=True)
class File:
    """A landed file as it was read."""

    landed: Landed
    sha256: str

    @classmethod
    def read(cls, path: Path) -> File:
        """Raises OSError, ValueError (not a landed cell, or not the one its name says)."""
        data = path.read_bytes()
        landed = codec.load_landed(data)
        check_name(path, landed)
        return cls(landed, hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, slots=True)
class Rows:
    """What landed files hold, by table."""

    cells: pa.Table
    measurements: pa.Table


def rows_of(files: Sequence[File]) -> Rows:
    """Raises ValueError, KeyError, TypeError or OverflowError where a file holds what no row can."""
    figures = [clean(_measurement_row(file.landed, m)) for file in files for m in file.landed.measurements]
    return Rows(
        cells=pa.Table.from_pylist([clean(_cell_row(file)) for file in files], schema=CELLS),
        measurements=pa.Table.from_pylist(figures, schema=MEASUREMENTS),
    )


def _cell_row(file: File) -> dict[str, Any]:
    landed = file.landed
    cell, trace = landed.cell, landed.conditions.get("trace")
    trace = trace if isinstance(trace, Mapping) else {}
    return {
        "cell": cell.id,
        "attempt": landed.attempt,
        "current": False,  # known when all attempts are loaded
        "device": cell.profile.name,
        "chip": cell.profile.chip,
        "simulated": cell.profile.simulated,
        **_variant(landed),
        "runtime": cell.runtime,
        "build": cell.build,
        "workload_kind": cell.workload.kind,
        "workload": cell.asked,
        "parameters": json_text(cell.workload.settings),
        "launch": cell.launch,
        "series": cell.series,
        "state": str(landed.outcome.state),
        "stage": landed.outcome.stage,
        "reason": landed.outcome.reason,
        "retryable": landed.outcome.retryable,
        "started_at": utc(landed.started_at),
        "seconds": landed.seconds,
        "sweep": landed.sweep,
        "night": landed.night,
        "conditions": json_text(landed.conditions),
        "trace_sha256": trace.get("sha256"),
        "trace_size": trace.get("size"),
        "file_sha256": file.sha256,
    }


def _variant(landed: Landed) -> dict[str, Any]:
    variant, artifact = landed.cell.variant, landed.artifact
    return {
        "model": variant.model,
        "variant": variant.name,
        "quant": variant.quant,
        "format": variant.format,
        "recipe": variant.recipe.id,
        "artifact": artifact.sha256 if artifact else None,
        "size": artifact.size if artifact else None,
        "bits_per_weight": artifact.bits_per_weight if artifact else None,
        "types": json_text(artifact.types) if artifact else None,
        "fallbacks": json_text(artifact.fallbacks) if artifact else None,
    }


def _measurement_row(landed: Landed, measurement: Measurement) -> dict[str, Any]:
    return {
        "cell": landed.cell.id,
        "attempt": landed.attempt,
        "metric": measurement.metric,
        "value": measurement.value,
        "unit": measurement.unit,
        "n": measurement.n,
        "low": measurement.low,
        "high": measurement.high,
        "remark": measurement.remark,
        "samples": list(measurement.samples),
    }


def utc(text: str) -> datetime | None:
    """A time without its zone is UTC already; what is no time is none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def json_text(thing: object) -> str:
    return json.dumps(clean(thing, finite=True), sort_keys=True, allow_nan=False)


def clean(thing: Any, *, finite: bool = False) -> Any:
    """Text that the database can hold (no lone surrogates); for JSON also no NaN and infinities, which it has not."""
    match thing:
        case str():
            return thing.encode("utf-8", "replace").decode()
        case float() if finite and not math.isfinite(thing):
            return str(thing)
        case dict():
            return {clean(key): clean(value, finite=finite) for key, value in thing.items()}
        case list() | tuple():
            return [clean(value, finite=finite) for value in thing]
        case _:
            return thing
