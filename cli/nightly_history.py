"""quantfarm nightly history: the nights of a series, with gaps, forks, change points and verdicts."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.output import print_json, print_rows
from quantfarm.errors import FarmError, UsageError
from quantfarm.nightly import history as histories
from quantfarm.nightly import judge, words
from quantfarm.nightly.history import History
from quantfarm.nightly.series import SeriesKey, choose
from quantfarm.report import history_chart
from storage import atomic, nights, watch_lists
from storage.home import Home
from storage.reading import NoResults, Reader

COLUMNS = ("night", "value", "n", "build", "fork", "change", "verdict", "reason")
EVER = "9999-12-31"


def history(
    series: Annotated[
        str | None, typer.Argument(help="Its id, or words that only it has. None: lists the series.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV and nothing else.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw it into this file, too.")] = None,
) -> None:
    """The nights of a series: values, gaps, forks, change points, verdicts."""
    if series is None and (plot or as_csv):
        raise UsageError("say which series: `quantfarm nightly history` lists them")
    home = Home.default()
    found = read(home)
    if series is None:
        _list(found, as_json)
        return
    chosen = found[choose(list(found), series)]
    if plot:
        _draw(chosen, plot)
    if as_json:
        print_json(
            {
                "series": chosen.series.id,
                "name": chosen.series.name,
                "simulated": chosen.simulated,
                "gaps": list(chosen.gaps),
                "nights": histories.rows(chosen),
            }
        )
    elif as_csv:
        _csv(histories.rows(chosen))
    else:
        _print(chosen)


def read(home: Home) -> dict[SeriesKey, History]:
    """Every series that was watched. Raises UsageError where no night was measured."""
    try:
        with Reader(home) as reader:
            series = nights.series(reader)
    except NoResults:
        series = {}
    reports = nights.reports(home)
    told = judge.told(reports, EVER)
    every = {report.night for report in reports} | {point.night for points in series.values() for point in points}
    keys = sorted({*series, *told})
    if not keys:
        raise UsageError("no night was measured yet: run `quantfarm nightly run`")
    rules = watch_lists.rules(home)
    return {key: histories.compose(key, series.get(key, []), every, told.get(key, ()), rules) for key in keys}


def _list(found: dict[SeriesKey, History], as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": key.id,
            "series": key.name,
            "nights": len(one.points),
            "last": one.points[-1].night if one.points else None,
            "value": one.points[-1].value if one.points else None,
            "unit": one.unit,
            "simulated": one.simulated,
        }
        for key, one in found.items()
    ]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, ("id", "series", "nights", "last", "value", "unit", *_simulated(list(found.values()))))


def _simulated(found: list[History]) -> tuple[str, ...]:
    return ("simulated",) if any(one.simulated for one in found) else ()


def _print(chosen: History) -> None:
    console = Console(soft_wrap=True, highlight=False)
    remark = f" [{words.SIMULATED}]" if chosen.simulated else ""
    console.print(f"{chosen.series.name} ({chosen.unit}){remark}", style="bold", markup=False)
    if len(chosen.points) > 1:
        console.print(history_chart.chart(chosen, width=min(100, console.width), colours=console.is_terminal))
    print_rows(histories.rows(chosen), COLUMNS)


def _csv(rows: list[dict[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _draw(chosen: History, file: Path) -> None:
    if file.suffix != ".svg":
        raise UsageError(f"{file}: a plot is an .svg file")
    if not file.parent.is_dir():
        raise UsageError(f"there is no folder {file.parent}")
    if not chosen.points:
        raise FarmError(f"{chosen.series.name} has no values yet: there is nothing to draw")
    from quantfarm.report import history_plot  # noqa: PLC0415 - Matplotlib takes a second

    drawn = history_plot.History(
        key=chosen.series,
        unit=chosen.unit,
        nights=[histories.night(point) for point in chosen.points],
        changes=chosen.changes,
        verdicts=chosen.verdicts,
        simulated=chosen.simulated,
    )
    atomic.write_atomic(file, history_plot.history_svg(drawn).encode())
