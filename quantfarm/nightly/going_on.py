"""Whether tonight's verdict is of an alert that is known, or another one, or its end. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from quantfarm.nightly.standing import VERDICT, Alert, Standing
from quantfarm.nightly.verdicts import Kind, NightReport, Verdict

#: An acknowledged regression that got this much worse again is another one.
WORSE = 0.02
#: Nights that must carry it, where no rerun does.
CARRIED = 3


def night_row(standing: Standing, report: NightReport, sinks: Iterable[str]) -> dict[str, Any]:
    """What a report changes: alerts that began, go on, or are over."""
    began: list[dict[str, Any]] = []
    goes_on: list[dict[str, Any]] = []
    over: list[str] = []
    for verdict in report.verdicts:
        mine = [one for one in standing.open if one.series == verdict.series.id]
        over += [one.id for one in mine if back(one, verdict)]
        if not verdict.alerts:
            fallen = [one for one in mine if is_worse_now(one, verdict)]
            began += [VERDICT.dump_python(got_worse(one, verdict), mode="json") for one in fallen]
            over += [one.id for one in fallen if one.night != report.night]
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


def is_worse_now(alert: Alert, verdict: Verdict) -> bool:
    """Whether what was acknowledged got worse without a change of its own: the judge tells a change once."""
    known = alert.acknowledged
    if alert.verdict.kind is not Kind.REGRESSION or not known or verdict.kind is not Kind.UNCHANGED:
        return False
    carried = verdict.new is not None and verdict.new.n >= CARRIED
    return carried and worse(alert.verdict, known.get("value"), verdict)


def got_worse(alert: Alert, verdict: Verdict) -> Verdict:
    """The regression as it stands now; what confirmed it then confirmed less."""
    old, new = alert.verdict.old, verdict.new
    ratio = new.value / old.value if new and old and old.value else None
    reason = f"it was acknowledged as reported on {alert.night}, and is worse since then"
    return replace(alert.verdict, night=verdict.night, new=new, ratio=ratio, p=None, confirmation=None, reason=reason)


def worse(before: Verdict, stood: float | None, now: Verdict) -> bool:
    """Whether the series went on in the same direction, by WORSE of where it `stood` or more."""
    if not (before.old and before.new and now.new) or stood is None or not stood:
        return False
    further = (now.new.value - stood) / abs(stood)
    return (further if before.new.value > before.old.value else -further) >= WORSE - 1e-12
