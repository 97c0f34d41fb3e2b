"""Whether tonight's verdict is of an alert that is known, or another one, or its end. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from quantfarm.nightly.standing import VERDICT, Alert, Standing
from quantfarm.nightly.verdicts import Kind, NightReport, Verdict

#: An acknowledged regression that got this much worse again is another one.
WORSE = 0.02


def night_row(standing: Standing, report: NightReport, sinks: Iterable[str]) -> dict[str, Any]:
    """What a report changes: alerts that began, go on, or are over."""
    began: list[dict[str, Any]] = []
    goes_on: list[dict[str, Any]] = []
    over: list[str] = []
    for verdict in report.verdicts:
        mine = [one for one in standing.open if one.series == verdict.series.id]
        over += [one.id for one in mine if back(one, verdict)]
        if not verdict.alerts:
            continue
        same = next((one for one in mine if goes_on_as(one, verdict)), None)
        if same is None:
            over += [one.id for one in mine if one.verdict.kind is verdict.kind and one.night != report.night]
            began.append(VERDICT.dump_python(verdict, mode="json"))
        else:
            goes_on.append({"id": same.id, "value": verdict.new.value if verdict.new else None})
    return {
        "kind": "night",
        "night": report.night,
        "sinks": sorted(sinks),
        "began": began,
        "goes_on": goes_on,
        "over": sorted(set(over)),
    }


def back(alert: Alert, verdict: Verdict) -> bool:
    """Whether a verdict of the same series ends the alert."""
    if alert.verdict.kind is Kind.NO_DATA:
        return verdict.kind is not Kind.NO_DATA
    if verdict.kind not in (Kind.IMPROVEMENT, Kind.UNCHANGED):
        return False
    old, new = alert.verdict.old, alert.verdict.new
    if not (verdict.new and old and new):
        return verdict.kind is Kind.IMPROVEMENT
    # Nearer to where it was than to where it went.
    return abs(verdict.new.value - old.value) < abs(verdict.new.value - new.value)


def goes_on_as(alert: Alert, verdict: Verdict) -> bool:
    """Whether a verdict is of what was reported already.

    The first bad night may move a little as nights come in: what begins after the night of the report is another
    one, and so is what began before it and is worse by another 2 %. What was acknowledged is so until it is worse.
    """
    if alert.verdict.kind is not verdict.kind:
        return False
    if verdict.kind is Kind.NO_DATA:
        return True
    if alert.acknowledged and worse(alert.verdict, alert.acknowledged.get("value"), verdict):
        return False
    if verdict.first_bad == alert.verdict.first_bad:
        return True
    return verdict.first_bad <= alert.night and not worse(alert.verdict, alert.value, verdict)


def worse(before: Verdict, stood: float | None, now: Verdict) -> bool:
    """Whether the series went on in the same direction, by WORSE of where it `stood` or more."""
    if not (before.old and before.new and now.new) or stood is None or not stood:
        return False
    further = (now.new.value - stood) / abs(stood)
    return (further if before.new.value > before.old.value else -further) >= WORSE - 1e-12
