"""Marks as rows of `quantfarm results`: one per variant and rater, the mean with its interval over prompts."""

from __future__ import annotations

from typing import Any

from quantfarm.ratings import UNIT, Rating, last, mean
from storage.reading import Reader

METRIC = "rating"
RATINGS = """
SELECT rater, CAST(rated_at AS VARCHAR) AS rated_at, prompt_set, prompt_sha256, answer_sha256, mark, model, variant,
       artifact, device, runtime, build
FROM ratings WHERE ($model IS NULL OR model = $model) AND ($device IS NULL OR device = $device) ORDER BY number
"""
#: A database that was published by a program which knew no ratings.
KNOWN = "SELECT count(*) AS n FROM duckdb_tables() WHERE table_name = 'ratings'"


def rows(reader: Reader, *, device: str | None = None, model: str | None = None) -> list[dict[str, Any]]:
    """`workload` names the set and the rater, `reason` the time of the last mark."""
    if not reader.query(KNOWN)[0]["n"]:
        return []
    groups: dict[tuple[str, ...], list[Rating]] = {}
    for one in last(Rating(**row) for row in reader.query(RATINGS, {"model": model, "device": device})):
        key = (one.device, one.model, one.runtime, one.prompt_set, one.variant, one.rater)
        groups.setdefault(key, []).append(one)
    return [_row(those) for _, those in sorted(groups.items())]


def _row(those: list[Rating]) -> dict[str, Any]:
    made, one = mean(those), those[-1]
    return {
        "device": one.device,
        "model": one.model,
        "variant": one.variant,
        "runtime": one.runtime,
        "build": one.build,
        "workload": f"{one.prompt_set} judged by {one.rater}",
        "metric": METRIC,
        "value": made.value,
        "unit": UNIT,
        "low": made.low,
        "high": made.high,
        "n": made.n,
        "launches": made.marks,
        "valid": True,
        "reason": f"last marked {made.last_at}",
        "simulated": False,
        "cell": "",
        "series": "",
    }
