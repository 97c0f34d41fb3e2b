"""Alerts as rows for programs and lines for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from quantfarm.errors import FarmError
from quantfarm.nightly import words
from quantfarm.nightly.standing import Alert, Standing
from storage.alerts import Alerts
from storage.home import Home

Row = dict[str, Any]


def failures(home: Home) -> dict[str, str]:
    """Sink -> why it did not take its last message. A journal that cannot be read is an entry of its own."""
    try:
        return {name: f"{row['night']}: {row['reason']}" for name, row in Alerts(home).standing().failed.items()}
    except FarmError as error:
        return {"alerts": str(error)}


def row_of(standing: Standing, one: Alert) -> Row:
    verdict = one.verdict
    snooze = standing.snooze_of(one, standing.night)
    known = one.acknowledged
    state = "over" if one.over else "acknowledged" if known else "snoozed" if snooze else "open"
    return {
        "series": one.series,
        "name": verdict.series.name,
        "kind": str(verdict.kind),
        "state": state,
        "since": verdict.first_bad or one.night,
        "first_reported": one.night,
        "last_reported": one.seen,
        "over": one.over or None,
        "old": verdict.old.value if verdict.old else None,
        "new": one.value,
        "unit": verdict.new.unit if verdict.new else "",
        "ratio": verdict.ratio,
        "reason": verdict.reason,
        "simulated": verdict.simulated,
        "told": dict(one.told),
        "acknowledged": {name: known[name] for name in ("who", "at", "note")} if known else None,
        "snoozed_until": snooze["until"] if snooze else None,
    }


def page(
    rows: Sequence[Row],
    devices: Sequence[Row],
    failed: Sequence[Row],
    sinks: list[str],
) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for row in rows:
        console.print(f"{row['series']}  {row['state']:<12}  {words.clean(row['name'])}", style=_style(row["state"]))
        console.print(f"          {_about(row)}", style="dim")
    if not rows:
        console.print("nothing is open")
    for one in devices:
        console.print(f"device {one['device']} is snoozed until {one['until']} by {one['who']} {one['note']}".rstrip())
    for one in failed:
        console.print(f"sink {one['sink']} failed in the night of {one['night']}: {one['reason']}", style="yellow")
    console.print(f"sinks: {', '.join(sinks) or 'none'}", style="dim")


def _style(state: str) -> str:
    return {"open": "red", "acknowledged": "yellow", "snoozed": "yellow"}.get(state, "dim")


def _about(row: Row) -> str:
    parts = [f"{row['kind']} since {row['since']}"]
    if row["ratio"] is not None:
        parts.append(words.percent(row["ratio"]))
    if row["kind"] == "no data" and row["reason"]:
        parts.append(words.clean(row["reason"], 120))
    if row["simulated"]:
        parts.append(words.SIMULATED)
    if known := row["acknowledged"]:
        parts.append(f"acknowledged by {known['who']} {words.clean(known['note'], 120)}".rstrip())
    if row["snoozed_until"]:
        parts.append(f"snoozed until {row['snoozed_until']}")
    told = ", ".join(f"{sink} ({night})" for sink, night in row["told"].items())
    return "; ".join([*parts, f"told: {told}" if told else "told to nobody yet"])
