"""What is open, told, acknowledged and snoozed: folded from the rows of a journal, oldest first. Pure.

An alert is a regression of a series, or its silence. It keeps its name (series@night, the night it was first
reported) for as long as it goes on, so that it is told once. It is over when the series is back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from quantfarm.nightly.verdicts import Verdict

VERDICT = TypeAdapter(Verdict)


@dataclass(kw_only=True)
class Alert:
    """`verdict` as first reported; `value`: where the series stood when it was last reported."""

    id: str
    verdict: Verdict
    night: str  # first reported
    seen: str  # last reported
    value: float | None = None
    over: str = ""  # the night it was back
    told: dict[str, str] = field(default_factory=dict[str, str])  # sink -> night
    tried: set[str] = field(default_factory=set[str])  # sinks that failed, or were cut off
    acknowledged: dict[str, Any] | None = None  # who, note, at, value

    @property
    def series(self) -> str:
        return self.verdict.series.id


@dataclass(kw_only=True)
class Standing:
    """Everything that the journal says."""

    alerts: dict[str, Alert] = field(default_factory=dict[str, Alert])
    snoozed: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict[tuple[str, str], dict[str, Any]])
    sinks: dict[str, str] = field(default_factory=dict[str, str])  # sink -> the first night that it was there for
    nights: dict[str, set[str]] = field(default_factory=dict[str, set[str]])  # sink -> nights it was told of
    cut_off: set[str] = field(default_factory=set[str])  # sinks whose last sending has no outcome
    failed: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])  # sink -> its last failure
    night: str = ""  # the last one
    said_no_sinks: bool = False

    @property
    def open(self) -> list[Alert]:
        return [one for one in self.alerts.values() if not one.over]

    def snooze_of(self, alert: Alert, night: str) -> dict[str, Any] | None:
        """The snooze that keeps it quiet in this night: of the series, or of its device."""
        for key in (("series", alert.series), ("device", alert.verdict.series.device)):
            row = self.snoozed.get(key)
            if row and night <= row["until"]:
                return row
        return None

    def quiet(self, alert: Alert, night: str) -> str:
        """Why it is not told in this night; empty: it is."""
        if acknowledged := alert.acknowledged:
            return f"acknowledged by {acknowledged['who']}"
        if row := self.snooze_of(alert, night):
            return f"snoozed until {row['until']}"
        return ""

    def due(self, sink: str, night: str) -> list[Alert]:
        """What this sink must hear: what it never got, was there for, and nobody has silenced."""
        since = self.sinks.get(sink, night)
        return [
            one
            for one in self.alerts.values()
            if sink not in one.told
            and not self.quiet(one, night)
            and (sink in one.tried or (not one.over and (one.seen == night or one.night >= since)))
        ]


def fold(rows: Iterable[Mapping[str, Any]]) -> Standing:
    """Rows of a kind that is not known here are passed over: a newer program may have written them."""
    standing = Standing()
    for row in rows:
        if step := _STEPS.get(str(row.get("kind"))):
            step(standing, row)
    return standing


def _night(standing: Standing, row: Mapping[str, Any]) -> None:
    night = str(row["night"])
    standing.night = max(standing.night, night)
    for sink in row["sinks"]:
        standing.sinks.setdefault(sink, night)
    for ended in row["over"]:
        standing.alerts[ended].over = night
    for told in row["began"]:
        verdict = VERDICT.validate_python(told)
        value = verdict.new.value if verdict.new else None
        one = Alert(id=f"{verdict.series.id}@{night}", verdict=verdict, night=night, seen=night, value=value)
        standing.alerts[one.id] = one
    for known in row["goes_on"]:
        one = standing.alerts[known["id"]]
        one.seen = max(one.seen, night)
        one.value = known["value"] if known["value"] is not None else one.value


def _sending(standing: Standing, row: Mapping[str, Any]) -> None:
    standing.cut_off.add(row["sink"])
    _tried(standing, row)


def _tried(standing: Standing, row: Mapping[str, Any]) -> None:
    for one in _named(standing, row):
        one.tried.add(row["sink"])


def _sent(standing: Standing, row: Mapping[str, Any]) -> None:
    sink = row["sink"]
    standing.cut_off.discard(sink)
    standing.failed.pop(sink, None)
    standing.nights.setdefault(sink, set()).add(row["night"])
    for one in _named(standing, row):
        one.told[sink] = row["night"]


def _failed(standing: Standing, row: Mapping[str, Any]) -> None:
    standing.cut_off.discard(row["sink"])
    standing.failed[row["sink"]] = dict(row)
    _tried(standing, row)


def _named(standing: Standing, row: Mapping[str, Any]) -> list[Alert]:
    return [standing.alerts[name] for name in row["alerts"] if name in standing.alerts]


def _acknowledged(standing: Standing, row: Mapping[str, Any]) -> None:
    for one in _named(standing, row):
        one.acknowledged = {**row, "value": one.value}


def _snoozed(standing: Standing, row: Mapping[str, Any]) -> None:
    standing.snoozed[(row["what"], row["name"])] = dict(row)


def _no_sinks(standing: Standing, _: Mapping[str, Any]) -> None:
    standing.said_no_sinks = True


_STEPS = {
    "night": _night,
    "sending": _sending,
    "sent": _sent,
    "failed": _failed,
    "acknowledged": _acknowledged,
    "snoozed": _snoozed,
    "no sinks": _no_sinks,
}
