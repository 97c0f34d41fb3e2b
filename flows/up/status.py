"""How the farm of a home is: what `quantfarm up --status` tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.up import going_on, logs, state
from storage import processes
from storage.home import Home

DOWN = "down"


def status(home: Home) -> dict[str, Any]:
    """`well`: everything runs, answers, and every self-check is good."""
    found = state.read(home)
    runs = state.runs(found)
    parts = [_part(one, runs) for one in (found or {}).get("parts", ())]
    checks = (found or {}).get("checks", []) if runs else []
    sweeps = (found or {}).get("sweeps", []) if runs else _unfinished(home)
    return {
        "running": runs,
        "pid": found["pid"] if found and runs else None,
        "since": found["since"] if found and runs else None,
        "home": str(home.root),
        "well": runs and bool(parts and checks) and all(one["state"] == "up" for one in parts) and _good(checks),
        "parts": parts,
        "checks": checks,
        "sweeps": sweeps,
        "begun_again": (found or {}).get("begun_again", []) if runs else [],
        "runs": (found or {}).get("runs", {}) if runs else {},
        "notes": (found or {}).get("notes", []),
    }


def _good(checks: list[dict[str, Any]]) -> bool:
    return all(one["ok"] for one in checks)


def _part(told: dict[str, Any], runs: bool) -> dict[str, Any]:
    """As it was told, and looked at again: what was written seconds ago may have died since."""
    alive = bool(told["mark"]) and processes.alive(told["mark"])
    if not runs and told["state"] == "stopped":
        return {**told, "last_line": ""}
    there = runs and alive
    down = {} if there else {"state": told["state"] if runs and told["state"] == "waiting" else DOWN, "pid": None}
    last = "" if there and told["state"] == "up" else logs.last_line(Path(told["log"]))
    return {**told, **down, "last_line": last}


def _unfinished(home: Home) -> list[dict[str, Any]]:
    return [
        {"sweep": one.sweep, "model": one.model, "cells": len(one.cells), "finished": one.finished, "alive": one.alive}
        for one in going_on.cut_off(home)
    ]
