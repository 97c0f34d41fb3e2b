"""One message a night to each sink, and no news twice. A sink that fails never fails the night.

Order of writing, so that a kill at any place repeats nothing that is known to have arrived: what the night says is
written down, then for each sink that a sending begins, then how it ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from flows.alerting import settings
from flows.alerting.sinks import NotSent, Sink, shown
from quantfarm.errors import FarmError
from quantfarm.nightly.going_on import night_row
from quantfarm.nightly.message import Message, compose
from quantfarm.nightly.standing import Alert, Standing
from quantfarm.nightly.telling import Item, Links
from quantfarm.nightly.verdicts import NightReport
from storage.alerts import Alerts
from storage.home import Home

SENT, FAILED, NOTHING, BEFORE, NO_SINKS = "sent", "failed", "nothing to tell", "told before", "no sinks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How telling one sink ended. `sink` is its name; empty: what is not of one sink alone. `alerts`: how many."""

    sink: str
    state: str
    alerts: int = 0
    reason: str = ""

    @property
    def line(self) -> str:
        """For a log: `slack: failed: hooks.example.org answered 500`."""
        return ": ".join(part for part in (self.sink or "alerts", self.state, self.reason) if part)


def tell(home: Home, report: NightReport, links: Links | None = None) -> list[Sent]:
    """Tells each sink what it has not heard yet. Raises nothing that a sink, alerts.yaml or the journal could cause."""
    try:
        sinks = settings.read(home)
        alerts = Alerts(home)
        with alerts.telling():
            alerts.add(night_row(alerts.standing(), report, [one.name for one in sinks]))
            sent = [(one, _tell(home, alerts, one, report, links or Links())) for one in sinks]
            told = [how for one, how in sent if not (one.implied and how.state == NOTHING)]
            return [*told, *_without_sinks(alerts, sinks, report)]
    except (FarmError, OSError) as error:
        return [Sent(sink="", state=FAILED, reason=shown(error))]


def _without_sinks(alerts: Alerts, sinks: Sequence[Sink], report: NightReport) -> list[Sent]:
    """Said once: that nobody is told outside of Prefect."""
    if any(one.kind != "event" for one in sinks) or not any(one.alerts for one in report.verdicts):
        return []
    if alerts.standing().said_no_sinks:
        return []
    alerts.said_no_sinks()
    reason = f"nobody is told outside of the run's page: name sinks in {settings.path(alerts.home)}"
    return [Sent(sink="", state=NO_SINKS, reason=reason)]


def _tell(home: Home, alerts: Alerts, sink: Sink, report: NightReport, links: Links) -> Sent:
    standing = alerts.standing()
    if report.night in standing.nights.get(sink.name, ()):
        return Sent(sink=sink.name, state=BEFORE)
    due = standing.due(sink.name, report.night)
    items = [_item(one, report) for one in due]
    message = compose(report, links, items, left_out(standing, due, report.night)) if items else None
    if message is None:
        return Sent(sink=sink.name, state=NOTHING)
    return _send(home, alerts, sink, message, [one.id for one in due], again=sink.name in standing.cut_off)


def _send(home: Home, alerts: Alerts, sink: Sink, message: Message, due: Sequence[str], *, again: bool) -> Sent:
    alerts.sending(sink.name, message.night, due, message.digest)
    try:
        remark = sink.send(home, message, again=again)
    except NotSent as error:
        reason = str(error)
    except Exception as error:  # whatever a sink does, the night goes on; its text may hold a secret
        reason = f"an error of its own ({type(error).__name__})"
    else:
        alerts.sent(sink.name, message.night, due, message.digest)
        return Sent(sink=sink.name, state=SENT, alerts=len(due), reason=remark)
    alerts.failed(sink.name, message.night, due, reason)
    return Sent(sink=sink.name, state=FAILED, alerts=len(due), reason=f"{reason}; tried again with the next night")


def _item(alert: Alert, report: NightReport) -> Item:
    """As tonight saw it where tonight saw it; else as it was reported, saying so."""
    seen = [
        one
        for one in report.verdicts
        if one.series.id == alert.series and one.kind is alert.verdict.kind and alert.seen == report.night
    ]
    verdict = seen[0] if seen else alert.verdict
    if alert.night == report.night:
        return Item(verdict=verdict)
    remark = f"first reported in the night of {alert.night}"
    return Item(verdict=verdict, remark=remark + (f", over since the night of {alert.over}" if alert.over else ""))


def left_out(standing: Standing, due: Sequence[Alert], night: str) -> str:
    """`2 told before, 1 acknowledged by ann`: what is open and not in the message."""
    rest = [one for one in standing.open if one not in due]
    why = Counter(standing.quiet(one, night) or "told before" for one in rest)
    return ", ".join(f"{n} {reason}" for reason, n in sorted(why.items()))
