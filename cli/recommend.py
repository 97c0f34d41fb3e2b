"""quantfarm recommend DEVICE: what it should run by default, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console

from cli.output import print_json
from flows import measured
from quantfarm import decide
from quantfarm.decide import Recommendation
from storage.home import Home


def recommend(
    device: Annotated[str, typer.Argument(help="The device to decide for, e.g. local.")],
    model: Annotated[str | None, typer.Option(help="The model. Default: the one measured last.")] = None,
    max_ram: Annotated[float | None, typer.Option(help="At most this much resident memory, in MiB.", min=0)] = None,
    min_quality: Annotated[
        float, typer.Option(help="At least this quality: perplexity of F16 ÷ that of the variant.", min=0, max=2)
    ] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Print the default for a device with its reason; exit code 1 when nothing measured satisfies the wishes."""
    found = measured.of(Home.default(), device, model)
    made = decide.recommend(found, max_ram_mib=max_ram, min_quality=min_quality)
    if as_json:
        print_json(as_dict(made, device, found[0].model))
    else:
        show(made, Console(soft_wrap=True))
    if made.chosen is None:
        raise typer.Exit(1)


def as_dict(made: Recommendation, device: str, model: str) -> dict[str, Any]:
    chosen = made.chosen
    return {
        "device": device,
        "model": model,
        "variant": chosen.variant if chosen else None,
        "runtime": chosen.runtime if chosen else None,
        "artifact": chosen.artifact if chosen else None,
        "reason": made.reason,
        "figures": {name: summary.value for name, summary in chosen.figures.items()} if chosen else {},
        "units": dict(chosen.units) if chosen else {},
        "quality": made.quality,
        "probability": made.probability,
        "certain": made.certain,
        "simulated": chosen.simulated if chosen else False,
        "runner_up": made.runner_up.variant if made.runner_up else None,
        "why_not_runner_up": made.why_not_runner_up,
        "excluded": {candidate.name: why for candidate, why in made.excluded},
        "remarks": list(made.remarks),
        "reproduce": made.reproduce,
    }


def show(made: Recommendation, console: Console) -> None:
    console.print(made.reason, style="bold" if made.chosen else "yellow", markup=False, highlight=False)
    for remark in (made.why_not_runner_up, *made.remarks):
        if remark:
            console.print(remark, markup=False, highlight=False)
    for candidate, why in made.excluded:
        console.print(f"  not {candidate.name}: {why}", style="dim", markup=False, highlight=False)
    if made.reproduce:
        console.print(f"measure it again: {made.reproduce}", style="dim", markup=False, highlight=False)
