"""quantfarm ratings: the marks that people gave to answers, by variant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.output import print_json, print_rows
from quantfarm.errors import UsageError, unknown
from quantfarm.ratings import Rating, by_variant, last, mean
from storage import ratings as kept
from storage.home import Home

COLUMNS = ("model", "variant", "mean", "low", "high", "prompts", "marks", "raters", "last_at")


def ratings(
    model: Annotated[str, typer.Option(help="Only this model.")] = "",
    prompt_set: Annotated[str, typer.Option("--set", help="Only this set of prompts.")] = "",
    rater: Annotated[str, typer.Option(help="Only this person's marks.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Print the mean mark of each variant (1 bad, 5 good) with its 95 % interval over prompts, raters, time."""
    found = kept.all_ratings(Home.default())
    if not found:
        raise UsageError("nothing has been judged yet: run quantfarm ask --set edge-ten --variants … --rate NAME")
    for what, given, name in (("model", model, "model"), ("set", prompt_set, "prompt_set"), ("rater", rater, "rater")):
        if given and given not in (known := {getattr(one, name) for one in found}):
            raise unknown(what, given, known, "the ratings")
    rows = as_rows(found, model=model, prompt_set=prompt_set, rater=rater)
    if as_json:
        print_json(rows)
    else:
        show(rows, Console())


def as_rows(found: Iterable[Rating], *, model: str = "", prompt_set: str = "", rater: str = "") -> list[dict[str, Any]]:
    """One row per model and variant, the best first."""
    wanted = [
        one
        for one in last(found)
        if (not model or one.model == model)
        and (not prompt_set or one.prompt_set == prompt_set)
        and (not rater or one.rater == rater)
    ]
    rows: list[dict[str, Any]] = []
    for (of, variant), those in by_variant(wanted).items():
        made = mean(those)
        rows.append(
            {
                "model": of,
                "variant": variant,
                "mean": made.value,
                "low": made.low,
                "high": made.high,
                "prompts": made.n,
                "marks": made.marks,
                "raters": ", ".join(made.raters),
                "first_at": made.first_at,
                "last_at": made.last_at,
            }
        )
    return sorted(rows, key=lambda row: (row["model"], -row["mean"], row["variant"]))


def show(rows: Sequence[dict[str, Any]], console: Console) -> None:
    print_rows([row | {"last_at": row["last_at"][:16].replace("T", " ")} for row in rows], COLUMNS)
    console.print("mean of 1 (bad) to 5 (good); low and high: 95 % interval over prompts", style="dim")
