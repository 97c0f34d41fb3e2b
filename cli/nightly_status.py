"""quantfarm nightly status: the last night, what is open, when the next one is due."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from cli import alerts_view
from cli.output import print_json
from flows import nightly_files
from quantfarm.errors import FarmError
from quantfarm.nightly import judge, page, words
from quantfarm.nightly.verdicts import NightReport, Verdict
from storage import nights
from storage.home import Home

DEPLOYMENT = "nightly"
#: After every night that there may be.
EVER = "9999-12-31"


def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False) -> None:
    """The last night, regressions that are open, devices without data, and the next scheduled night."""
    home = Home.default()
    reports = nights.reports(home)
    told = judge.told(reports, EVER)
    regressions = [found for earlier in told.values() if (found := judge.open_regression(earlier))]
    silent = _silent(reports[-1]) if reports else {}
    following = next_run(home)
    if as_json:
        print_json(
            {
                "last_night": reports[-1].night if reports else None,
                "line": page.line(reports[-1]) if reports else None,
                "open": [{**asdict(one), "series": one.series.id, "name": one.series.name} for one in regressions],
                "silent": silent,
                "next": following,
                "sinks_failed": alerts_view.failures(home),
                "watch_list": str(nightly_files.path(home)),
            }
        )
        return
    _print(home, reports, regressions, silent, following)


def _print(
    home: Home, reports: list[NightReport], regressions: list[Verdict], silent: dict[str, str], following: str | None
) -> None:
    console = Console(soft_wrap=True, highlight=False)

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False)

    say(page.line(reports[-1]) if reports else "no night was measured yet: run `quantfarm nightly run`", "bold")
    for one in regressions:
        say(f"open since {words.when(one)}: {words.series(one)} [{one.series.id}]", "red")
        say(f"    {words.change(one)}; {words.suspect(one)}")
    for device, reason in silent.items():
        say(f"no data from {device}: {words.clean(reason)}", "red")
    for sink, reason in alerts_view.failures(home).items():
        say(f"not told yet to {sink}: {reason}", "yellow")
    say(f"next night: {following}" if following else "next night: none is scheduled (`quantfarm up` does that)")
    say(f"watch list: {nightly_files.path(home)}", "dim")


def _silent(report: NightReport) -> dict[str, str]:
    """Device -> why nothing came of it."""
    return {one.series.device: one.reason for one in report.silent}


def next_run(home: Home) -> str | None:
    """When the next night is due, as the server has it (ISO 8601); None where no server answers or nothing is due."""
    from flows.up import state  # noqa: PLC0415 - only to ask
    from flows.up.api import Api  # noqa: PLC0415

    url = os.environ.get("PREFECT_API_URL") or state.api(home)
    if not url:
        return None
    api = Api(url)
    try:
        deployment = api.deployments().get(DEPLOYMENT)
        runs = api.runs(["SCHEDULED"], deployment_id={"any_": [deployment["id"]]}) if deployment else []
    except FarmError:
        return None
    return next((str(run["expected_start_time"]) for run in runs), None)
