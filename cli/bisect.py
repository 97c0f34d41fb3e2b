"""quantfarm nightly bisect: the version of a runtime that made a series worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console

from cli import bisect_view
from cli.output import print_json
from cli.steps import Steps
from flows import bisect as bisecting
from flows import progress
from flows.bisect_question import LEAST_PAIRS, Asked, subject
from flows.progress import News
from flows.steps import Teller
from quantfarm.bisection.record import End
from storage.home import Home


@dataclass(frozen=True, slots=True)
class _Waits:
    """Of what happens in single runs, only for whom they wait: the rest is told by version."""

    steps: Steps

    def tell(self, news: News) -> None:
        if news.kind in ("waiting", "note"):
            self.steps.tell(news)


def bisect(
    series: Annotated[str, typer.Argument(metavar="SERIES", help="Its id, or words that only it has.")],
    good: Annotated[
        str, typer.Option(metavar="VERSION", help="A good version; default: that of its last regression.")
    ] = "",
    bad: Annotated[str, typer.Option(metavar="VERSION", help="A bad version; default: as for --good.")] = "",
    pairs: Annotated[int, typer.Option(help="Interleaved pairs of runs at a time.", min=LEAST_PAIRS)] = 10,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what an earlier search measured.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Find the version that made a series worse.

    Builds the released versions between good and bad as they are needed (minutes each, then cached), measures each
    in turns with the good one, and names the first bad version. Once cut off, the same command goes on.

    Exit code 0: it was found; 1: good and bad are alike now, or it could not be carried out; 2: the request was wrong.
    """
    home = Home.default()
    what = subject(home, Asked(series=series, good=good, bad=bad, pairs=pairs))
    console = Console(stderr=as_json)
    with Steps(console) as steps, progress.listening(_Waits(steps)):
        found = bisecting.bisect(home, what, Teller(what.profile.name, steps.step), fresh=fresh)
    if as_json:
        print_json(bisect_view.row(found))
    else:
        bisect_view.page(found, console)
    if found.end() not in (End.FOUND, End.INSTALLATION):
        raise typer.Exit(1)
