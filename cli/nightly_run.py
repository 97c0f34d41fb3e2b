"""quantfarm nightly run: a night now."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from cli import live, own_server
from cli.output import print_json
from flows import night_measuring, nightly_files, prepare, progress
from quantfarm.errors import FarmError
from quantfarm.nightly import page, verdicts, words
from quantfarm.nightly.verdicts import NightReport
from storage import nights
from storage.home import Home

STYLES = {"regression": "red", "no data": "red", "improvement": "green"}


def run(
    night: Annotated[str | None, typer.Option(metavar="DATE", help="Its date. Default: today.")] = None,
    watch_list: Annotated[str | None, typer.Option(metavar="FILE", help="Default: the farm's nightly.yaml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Measure a night of the watch list, and say what changed.

    What is measured already is not measured again. Exit code 0: nothing to worry about; 1: something regressed, or
    data is missing; 2: the watch list is wrong.
    """
    home = Home.default()
    asked = night_measuring.asked(home, night, watch_list)
    for watch in asked.watch_list.watches:
        prepare.check(home, watch)  # every mistake is said before anything starts
    before = nights.report(home, asked.night) is not None
    console = Console(stderr=as_json, soft_wrap=True)
    path = str(nightly_files.path(home, watch_list))
    ended = _flow(home, asked.night, path, None if as_json else live.LiveTable(console))
    report = nights.report(home, asked.night)
    if report is None:
        raise FarmError(f"the night {asked.night} has no report: {ended}")
    if as_json:
        print_json({"measured_already": before, **json.loads(verdicts.dump(report))})
    else:
        _told(console, report, before)
    if report.regressions or report.silent:
        raise typer.Exit(1)


def _flow(home: Home, night: str, watch_list: str, table: live.LiveTable | None) -> str:
    """The flow, with a server of its own where none is set; how it ended. Raises what ended it, where that is ours."""
    with own_server.ready(home):
        from flows.nightly import nightly as flow  # noqa: PLC0415 - after Prefect's settings

        arguments: dict[str, Any] = {"night": night, "watch_list": watch_list, "return_state": True}
        if table is None:
            state = flow(**arguments)
        else:
            with progress.listening(table), table:
                state = flow(**arguments)
        found = getattr(state.data, "result", state.data)  # Prefect may have put it into a record of its own
        error = found if isinstance(found, FarmError) else None
    if error:
        raise error
    return str(state.message or state.name)


def _told(console: Console, report: NightReport, before: bool) -> None:
    if before:
        console.print(f"{report.night} was measured already; its report:", style="dim")
    for kind in page.TOLD:
        for one in (verdict for verdict in report.verdicts if verdict.kind is kind):
            console.print(f"{kind}: {words.series(one)}", style=STYLES.get(kind, ""), markup=False, highlight=False)
            for line in _lines(one):
                console.print(f"    {line}", markup=False, highlight=False)
    console.print(page.line(report), style="bold", markup=False, highlight=False)


def _lines(one: verdicts.Verdict) -> list[str]:
    if one.kind is verdicts.Kind.NO_DATA:
        return [words.clean(one.reason)]
    lines = [words.change(one), f"since {words.when(one)}; {words.suspect(one)}", words.confirmed(one.confirmation)]
    if one.kind is verdicts.Kind.NOT_COMPARABLE:
        lines[2] = words.clean(one.reason)
    return [*lines, *([f"to measure it again: {one.reproduce}"] if one.reproduce else [])]
