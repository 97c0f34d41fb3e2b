"""What a bisection found: as a table with words for people, as one object for programs."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from quantfarm.bisection.ratios import Ratio, Says
from quantfarm.bisection.record import End, Record
from quantfarm.bisection.search import Answer
from quantfarm.nightly import words
from quantfarm.report.figures import share

STYLES = {Says.GOOD: "green", Says.BAD: "red", Says.UNDECIDED: "yellow", Says.SKIPPED: "yellow"}


def row(record: Record) -> dict[str, Any]:
    asked, answer, end = record.question, record.answer(), record.end()
    return {
        "series": asked.series.id,
        "name": asked.series.name,
        "device": asked.series.device,
        "metric": asked.series.metric,
        "unit": record.unit,
        "package": asked.package,
        "good": asked.good,
        "bad": asked.bad,
        "end": str(end) if end else None,
        "first_bad": answer.first_bad if answer else None,
        "last_good": answer.last_good if answer else None,
        "stepped_over": list(answer.stepped_over) if answer else [],
        "released": record.dates.get(answer.first_bad) if answer else None,
        "step": _ratio(answer.step) if answer else None,
        "all": _ratio(record.ratio),
        "remarks": list(answer.remarks) if answer else [],
        "versions": _versions(record),
        "anew": str(record.anew_says()) if record.anew else None,
        "builds": record.builds,
        "between": len(record.versions) - 1,
        "seconds": record.seconds,
        "began_at": record.began_at,
        "finished_at": record.finished_at,
        "reproduce": reproduce(record, answer),
    }


def _versions(record: Record) -> list[dict[str, Any]]:
    return [
        {
            "version": one.version,
            "released": record.dates.get(one.version),
            "says": str(one.says),
            **(_ratio(one.ratio) or {"ratio": None, "low": None, "high": None, "pairs": 0}),
            "own": one.version in record.own,
            "reason": one.reason,
        }
        for one in record.trials()
    ]


def _ratio(ratio: Ratio | None) -> dict[str, Any] | None:
    return asdict(ratio) if ratio else None


def reproduce(record: Record, answer: Answer | None) -> str:
    """The command that measures the two versions on both sides of the step again."""
    asked = record.question
    good, bad = (answer.last_good, answer.first_bad) if answer else (asked.good, asked.bad)
    ends = ["--good", good, "--bad", bad, "--pairs", str(asked.pairs), "--fresh"]
    return shlex.join(["quantfarm", "nightly", "bisect", asked.series.id, *ends])


PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}


def page(record: Record, console: Console) -> None:
    asked = record.question
    console.print(f"{asked.series.name}: {asked.package} {asked.good} → {asked.bad}", **PLAIN)
    columns = ("version", "released", "says", f"against {asked.good}", "pairs", "")
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for one in record.trials():
        measured = one.ratio if one.ratio and one.ratio.pairs else None
        figures = (_percent(measured), str(measured.pairs)) if measured else ("–", "")
        own = "the device's own installation" if one.version in record.own else ""
        date = record.dates.get(one.version, "–")
        table.add_row(one.version, date, str(one.says), *figures, one.reason or own, style=STYLES[one.says])
    console.print(table)
    for line in told(record):
        console.print(line, **PLAIN)


def told(record: Record) -> list[str]:
    """What it comes to, in words."""
    asked, answer, end = record.question, record.answer(), record.end()
    again = f"Measure it again: {reproduce(record, answer)}"
    differ = f"measured now, {asked.bad} differs from {asked.good} by {_percent(record.ratio)}"
    match end:
        case End.NOT_REPRODUCED:
            why = (
                "What made the nights differ is something else: heat, other programs, power settings, the model's file."
            )
            return [f"It cannot be reproduced: {differ}. Nothing was searched.", why, again]
        case End.TOO_NOISY:
            why = "The device is too noisy now: end what else runs there, or give more --pairs."
            return [f"Good and bad cannot be told apart: {differ}. Nothing was searched.", why, again]
        case End.INSTALLATION:
            first = f"It is no version: {differ}, and {asked.bad} installed anew, as the others were, does not"
            why = "Look at how the device's own was installed: compiler, CMAKE_ARGS, a wheel for another processor."
            return [f"{first}.", why, again]
        case _:
            return [*_found(record, answer), again] if answer else []


def _found(record: Record, answer: Answer) -> list[str]:
    package, bad, good = record.question.package, answer.first_bad, answer.last_good
    date = record.dates.get(bad)
    about = f"{_percent(answer.step)} against {good}{f', released {date}' if date else ''}"
    counted = f"{record.builds} of the {len(record.versions)} versions from good to bad were tried"
    if answer.stepped_over:
        some = f"one of {', '.join(answer.stepped_over)} and {bad}"
        first = f"{package}: the first bad version is {some} ({about}); what lies between could not be told; {counted}."
    else:
        first = f"{package} {bad} is the first bad version ({about}); {counted}."
    lines = [first, *(f"Mind: {remark}." for remark in answer.remarks)]
    if record.anew is not None and record.anew_says() is not Says.BAD:
        why = f": {record.anew.problem}" if record.anew.problem else ""
        lines.append(f"Mind: {bad} is the device's own; whether one installed anew is bad too could not be told{why}.")
    return [words.clean(line, 1000) for line in lines]


def _percent(ratio: Ratio | None) -> str:
    """`-8.1 % (-8.8 % to -7.3 %)`."""
    if ratio is None:
        return "unknown"
    inner = f" ({share(ratio.low - 1)} to {share(ratio.high - 1)})" if ratio.low and ratio.high else ""
    return share(ratio.ratio - 1) + inner
