"""A night for people: one line, and a page of Markdown. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from quantfarm.nightly import words
from quantfarm.nightly.verdicts import Kind, NightReport, Verdict
from quantfarm.report.figures import plural

#: More rows of one kind than this are counted.
ROWS = 50
#: Told in full, in this order; the others are counted.
TOLD = (Kind.REGRESSION, Kind.NO_DATA, Kind.IMPROVEMENT, Kind.NOT_COMPARABLE, Kind.NOISE)
TITLES = {
    Kind.REGRESSION: "Regressions",
    Kind.NO_DATA: "No data",
    Kind.IMPROVEMENT: "Improvements",
    Kind.NOT_COMPARABLE: "Not comparable",
    Kind.NOISE: "Candidates that measuring again did not confirm",
}


def line(report: NightReport) -> str:
    """`2026-11-20: 2 regressions, 1 silent device, 40 unchanged`."""
    counted = Counter(one.kind for one in report.verdicts)
    silent = {one.series.device for one in report.silent}
    parts = [
        plural(counted[Kind.REGRESSION], "regression") if counted[Kind.REGRESSION] else "",
        f"no data from {plural(len(silent), 'device')}" if silent else "",
        plural(counted[Kind.IMPROVEMENT], "improvement") if counted[Kind.IMPROVEMENT] else "",
        *(f"{counted[kind]} {kind}" for kind in (Kind.NOT_COMPARABLE, Kind.NOISE) if counted[kind]),
        f"{counted[Kind.UNCHANGED]} unchanged" if counted[Kind.UNCHANGED] else "",
        f"{counted[Kind.YOUNG]} too young to say" if counted[Kind.YOUNG] else "",
    ]
    return f"{report.night}: {', '.join(part for part in parts if part) or 'nothing is watched'}"


def markdown(report: NightReport, again: str = "") -> str:
    """`again`: how to see it once more, e.g. a link."""
    counts = ", ".join(f"{number} {name}" for name, number in report.counts.items() if number)
    parts = [f"# Night {report.night}", line(report), f"Measured: {counts or 'nothing'}."]
    if any(one.simulated for one in report.verdicts):
        parts.append(f"Rows marked *{words.SIMULATED}* are of simulated devices.")
    for kind in TOLD:
        parts += _section(kind, [one for one in report.verdicts if one.kind is kind])
    if again:
        parts.append(again)
    return "\n\n".join(parts) + "\n"


def _section(kind: Kind, verdicts: Sequence[Verdict]) -> list[str]:
    if not verdicts:
        return []
    head = f"## {TITLES[kind]} ({len(verdicts)})"
    if kind is Kind.NO_DATA:
        return [head, _silent(verdicts)]
    rows = [
        (words.series(one), words.change(one), words.when(one), words.confirmed(one.confirmation), words.suspect(one))
        for one in verdicts[:ROWS]
    ]
    table = _table(("series", "old → new", "since", "measured again", "suspect"), rows)
    more = [f"and {len(verdicts) - ROWS} more"] if len(verdicts) > ROWS else []
    commands = [f"- `{one.series.id}`: `{one.reproduce}`" for one in verdicts[:ROWS] if one.reproduce]
    reproduce = ["To measure once more:\n\n" + "\n".join(commands)] if kind is Kind.REGRESSION and commands else []
    return [head, table, *more, *reproduce]


def _silent(verdicts: Sequence[Verdict]) -> str:
    """By device, since a device that is away is one matter, not forty."""
    rows: list[tuple[str, str, str]] = []
    for device in dict.fromkeys(one.series.device for one in verdicts):
        mine = [one for one in verdicts if one.series.device == device]
        reasons = "; ".join(dict.fromkeys(words.clean(one.reason) for one in mine))
        rows.append((device, plural(len(mine), "series", "series"), words.clean(reasons)))
    return _table(("device", "of", "why"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)
