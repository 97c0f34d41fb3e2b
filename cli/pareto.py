"""quantfarm pareto: the frontier of speed, memory and quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from cli import decide
from cli.output import print_json
from flows import measured
from quantfarm.candidates import Candidate
from quantfarm.errors import UsageError
from quantfarm.statistics.frontier import Standing
from quantfarm.statistics.frontier import pareto as frontier_of
from storage.home import Home


def pareto(
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Print each device's Pareto frontier with the probability that a variant is on it."""
    groups = measured.by_device_and_model(Home.default(), device, model)
    if not groups:
        raise UsageError("nothing has been measured yet: run quantfarm sweep")
    if as_json:
        print_json([row for found in groups for row in rows(found)])
        return
    console = Console()
    for found in groups:
        decide.show(found, console)


def rows(found: Sequence[Candidate]) -> list[dict[str, Any]]:
    """One object per variant; those that cannot be compared carry the reason."""
    frontier = frontier_of(found)
    compared = [_row(standing) for standing in frontier.standings]
    return compared + [
        _identity(candidate) | {"on_frontier": None, "reason": why} for candidate, why in frontier.left_out
    ]


def _identity(candidate: Candidate) -> dict[str, Any]:
    return {
        "device": candidate.device,
        "model": candidate.model,
        "variant": candidate.variant,
        "runtime": candidate.runtime,
        "simulated": candidate.simulated,
        **{metric: candidate.value(metric) for metric in ("decode_tps", "resident_peak", "ppl", "kld_mean")},
    }


def _row(standing: Standing) -> dict[str, Any]:
    return _identity(standing.candidate) | {
        "on_frontier": standing.on_frontier,
        "certain": standing.certain,
        "probability": standing.probability,
        "dominated_by": [other.variant for other in standing.dominated_by],
        "reason": standing.remark,
    }
