"""quantfarm nightly alerts, ack, snooze, try-alert: who hears of what, and what is known already."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated

import typer
from rich.console import Console

from cli import alerts_view
from cli.output import print_json
from flows.alerting import settings, trying
from quantfarm.errors import UsageError, unknown
from quantfarm.nightly import series, words
from quantfarm.nightly.standing import Alert, Standing
from storage.alerts import Alerts
from storage.devices import Registry
from storage.home import Home

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Note = Annotated[str, typer.Option(help="Why; it stays in the journal.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """These verbs into the group `quantfarm nightly`."""
    app.command("alerts")(alerts)
    app.command("ack")(ack)
    app.command("snooze")(snooze)
    app.command("try-alert")(try_alert)


def alerts(
    every: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False, as_json: AsJson = False
) -> None:
    """What is open: told to whom, acknowledged, snoozed; and sinks that failed."""
    home = Home.default()
    standing = Alerts(home).standing()
    shown = list(standing.alerts.values()) if every else standing.open
    rows = [
        alerts_view.row_of(standing, one) for one in sorted(shown, key=lambda one: (one.night, one.id), reverse=True)
    ]
    failed = [{"sink": name, "night": row["night"], "reason": row["reason"]} for name, row in standing.failed.items()]
    devices = [
        {"device": name, "until": row["until"], "who": row["who"], "note": row["note"]}
        for (what, name), row in standing.snoozed.items()
        if what == "device" and row["until"] >= standing.night
    ]
    sinks = [one.name for one in settings.read(home)]
    if as_json:
        print_json(
            {"night": standing.night, "alerts": rows, "snoozed_devices": devices, "sinks": sinks, "failed": failed}
        )
        return
    alerts_view.page(rows, devices, failed, sinks)


def ack(
    name: Annotated[str, typer.Argument(metavar="SERIES", help="Its id, or words that only it has.")],
    note: Note = "",
    as_json: AsJson = False,
) -> None:
    """I know: it is not told again until it is 2 % worse, or back and there again."""
    journal = Alerts(Home.default())
    mine = _open(journal.standing(), name)
    journal.acknowledge([one.id for one in mine], words.clean(note))
    told = mine[0].verdict.series
    if as_json:
        print_json({"series": told.id, "acknowledged": [one.id for one in mine]})
    else:
        _say(f"{told.id} ({words.clean(told.name)}) is acknowledged until it gets worse, or is back")


def _open(standing: Standing, name: str) -> list[Alert]:
    """The open alerts of the one series that this names."""
    keys = {one.verdict.series for one in standing.open}
    if not keys:
        raise UsageError("nothing is open: `quantfarm nightly alerts --all` lists what was")
    key = series.choose(sorted(keys), name)
    return [one for one in standing.open if one.verdict.series == key]


def snooze(
    name: Annotated[str, typer.Argument(metavar="[SERIES]", help="Its id, or words that only it has.")] = "",
    device: Annotated[str, typer.Option(metavar="NAME", help="All series of a device.")] = "",
    until: Annotated[str, typer.Option(metavar="DATE", help="The last quiet night, e.g. 2027-01-06.")] = "",
    nights: Annotated[int | None, typer.Option(help="How many nights; 0 ends a snooze.", min=0, max=366)] = None,
    note: Note = "",
    as_json: AsJson = False,
) -> None:
    """Not before that night: what is still open then is told."""
    home = Home.default()
    journal = Alerts(home)
    standing = journal.standing()
    if bool(name) == bool(device):
        raise UsageError("say which series, or --device NAME")
    last = _last_night(standing, until, nights)
    what, target = ("device", _device(home, standing, device)) if device else ("series", _series(standing, name))
    journal.snooze(what, target, last, words.clean(note))
    if as_json:
        print_json({what: target, "until": last})
    else:
        _say(f"{what} {target}: quiet up to and with the night of {last}")


def _series(standing: Standing, name: str) -> str:
    keys = {one.verdict.series for one in standing.alerts.values()}
    if not keys:
        raise UsageError("no series was ever reported: there is nothing to snooze")
    return series.choose(sorted(keys), name).id


def _device(home: Home, standing: Standing, name: str) -> str:
    known = {one.verdict.series.device for one in standing.alerts.values()} | set(Registry(home).names())
    if name not in known:
        raise unknown("device", name, known) if known else UsageError(f"no device '{name}' is known")
    return name


def _last_night(standing: Standing, until: str, nights: int | None) -> str:
    if bool(until) == (nights is not None):
        raise UsageError("say --until DATE or --nights N")
    if nights is None:
        try:
            return date.fromisoformat(until).isoformat()
        except ValueError as error:
            raise UsageError(f"--until {until}: a date is YEAR-MONTH-DAY, as 2027-01-06") from error
    yesterday = (date.today() - timedelta(days=1)).isoformat()
    return (date.fromisoformat(max(standing.night, yesterday)) + timedelta(days=nights)).isoformat()


def try_alert(
    sink: Annotated[str, typer.Option(metavar="NAME", help="Only this one; default: all.")] = "",
    as_json: AsJson = False,
) -> None:
    """Send a message that says that it is a test. Exit code 1: a sink did not take it."""
    tried = trying.try_all(Home.default(), sink)
    if as_json:
        print_json([{"sink": one.sink, "state": one.state, "reason": one.reason} for one in tried])
    else:
        for one in tried:
            _say(one.line)
    if not trying.good(tried):
        raise typer.Exit(1)


def _say(text: str) -> None:
    Console(soft_wrap=True).print(text, markup=False, highlight=False)
