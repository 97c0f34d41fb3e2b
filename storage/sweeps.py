"""What was asked: one file per sweep, with its plan's cells and skips. Written when the sweep begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from quantfarm.nouns import Plan, Skip
from storage import atomic
from storage.home import Home

SCHEMA = 1


def record(home: Home, sweep_id: str, model: str, request: Mapping[str, Any], plan: Plan) -> None:
    """Raises FarmError when there is no room."""
    body = {
        "schema": SCHEMA,
        "sweep": sweep_id,
        "model": model,
        "request": dict(request),
        "cells": [cell.id for cell in plan.cells],
        "skips": [asdict(skip) for skip in plan.skips],
    }
    atomic.write_atomic(home.sweeps / f"{sweep_id}.json", (json.dumps(body, ensure_ascii=False) + "\n").encode())


def skips(home: Home) -> list[Skip]:
    """What the latest sweep of each model skipped; sweep ids sort by time."""
    latest: dict[str, list[Skip]] = {}
    for path in sorted(home.sweeps.glob("*.json")):
        try:
            body = json.loads(path.read_bytes())
            latest[body["model"]] = [Skip(**skip) for skip in body["skips"]]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a record is a convenience: results do not depend on it
    return [skip for found in latest.values() for skip in found]
