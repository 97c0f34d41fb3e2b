"""quantfarm nightly: what changed from night to night. Its larger verbs have files of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli import alerts, bisect, nightly_history, nightly_run, nightly_status, series_file
from cli.output import print_json
from quantfarm.errors import UsageError, unknown
from quantfarm.statistics.changes import Settings
from quantfarm.statistics.series import Night, Segment, changes_in, segments

app = typer.Typer(help="What changed from night to night.", no_args_is_help=True)
USUAL = Settings()
#: More forks of one series than this are counted instead of told one by one.
FORKS_TOLD = 5


@app.callback()
def nightly() -> None:
    """What changed from night to night."""


app.command("run")(nightly_run.run)
app.command("status")(nightly_status.status)
app.command("history")(nightly_history.history)
app.command("bisect")(bisect.bisect)
alerts.add_to(app)


@app.command()
def detect(
    file: Annotated[Path, typer.Argument(help="CSV (.csv) or JSON lines (.jsonl): run or time, series, value, …")],
    window: Annotated[int, typer.Option(help="Runs looked at together.")] = USUAL.window,
    p: Annotated[float, typer.Option("--p", help="How likely chance may be at most.")] = USUAL.p,
    magnitude: Annotated[float, typer.Option(help="Smallest relative change: 0.03 is 3 %.")] = USUAL.magnitude,
    min_points: Annotated[
        int, typer.Option(help="Runs on each side that must carry a change; 1 is plain Apache Otava.")
    ] = USUAL.min_points,
    label: Annotated[
        list[str] | None, typer.Option(help="A column that only describes the run (a commit): it forks no series.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else: no notes on stderr.")] = False,
) -> None:
    """Print the change points of every series in a file, as JSON.

    Each is the first run of a new level: series, index (from 0), run, direction, relative_size, p, and the levels.
    Columns other than run, time, series and value are attributes: where one changes, the series forks, and both
    parts are looked at apart.
    """
    try:
        settings = Settings(window=window, p=p, magnitude=magnitude, min_points=min_points)
    except ValueError as error:
        raise UsageError(str(error)) from error
    nights = series_file.read(file)
    labels = _known(label or [], nights)
    parts = {name: segments(series, labels) for name, series in nights.items()}
    if not as_json:
        _notes(parts, settings)
    print_json([row for name, series in nights.items() for row in _rows(name, series, parts[name], settings)])


def _known(labels: Sequence[str], nights: Mapping[str, Sequence[Night]]) -> Collection[str]:
    known = {name for series in nights.values() for night in series for name in night.attributes}
    for label in labels:
        if label not in known:
            raise unknown("attribute", label, known) if known else UsageError("the file has no attributes to label")
    return set(labels)


def _rows(name: str, series: Sequence[Night], parts: Sequence[Segment], settings: Settings) -> list[dict[str, Any]]:
    return [
        {"series": name, "run": series[one.index].run, **asdict(one), "attributes": dict(series[one.index].attributes)}
        for part in parts
        for one in changes_in(part, settings)
    ]


def _notes(parts: Mapping[str, Sequence[Segment]], settings: Settings) -> None:
    """What was not compared, and why: else a series without changes would look as if all were well."""
    console = Console(stderr=True, soft_wrap=True)
    for name, series in parts.items():
        for said in _forks(name, series) + _short(name, series, 2 * settings.min_points):
            console.print(said, markup=False, highlight=False)


def _forks(name: str, parts: Sequence[Segment]) -> list[str]:
    forks = [part for part in parts if part.forked]
    if len(forks) > FORKS_TOLD:
        often = Counter(key for part in forks for key in part.forked)
        by = ", ".join(f"{key} ({times} times)" for key, times in often.most_common())
        return [f"{name} forks {len(forks)} times: {by}; name what only describes a run with --label"]
    return [f"{name} forks at run {part.nights[0].run}, index {part.start}: {_difference(part)}" for part in forks]


def _difference(part: Segment) -> str:
    return ", ".join(f"{key} {old or '–'} → {new or '–'}" for key, (old, new) in part.forked.items())


def _short(name: str, parts: Sequence[Segment], least: int) -> list[str]:
    short = [part for part in parts if len(part.nights) < least]
    if len(short) > FORKS_TOLD:
        return [f"{name}: {len(short)} of its {len(parts)} parts are shorter than the {least} runs it takes to compare"]
    return [
        f"{name} from run {part.nights[0].run}: {len(part.nights)} of the {least} runs it takes to compare"
        for part in short
    ]
