"""quantfarm plan: every cell and every skip with its reason; touches nothing."""

from __future__ import annotations

import json
from collections import Counter

from rich.console import Console
from rich.table import Table

from cli import request as options
from flows import prepare
from quantfarm import axes
from quantfarm.nouns import Plan
from quantfarm.sweeps import Sweep
from storage.home import Home
from storage.landing import Landings


def show(sweep: Sweep, as_json: bool) -> None:
    """Print the cells a sweep would run and those it would skip, with reasons. Touches nothing."""
    home = Home.default()
    made = prepare.plan(home, sweep)
    finished = Landings(home).finished if home.root.exists() else lambda _: False
    done = {cell.id for cell in made.cells if finished(cell.id)}
    print_json(made, done) if as_json else print_table(made, done, axes.count(sweep.axes))


plan = options.command(show)


def print_json(made: Plan, done: set[str]) -> None:
    cells = [
        {
            "cell": cell.id,
            "device": cell.profile.name,
            "model": cell.variant.model,
            "variant": cell.variant.name,
            "runtime": cell.runtime,
            "build": cell.build,
            "workload": cell.asked,
            "settings": cell.workload.settings,
            "launch": cell.launch,
            "finished": cell.id in done,
        }
        for cell in made.cells
    ]
    skips = [
        {"device": s.device, "variant": s.variant, "runtime": s.runtime, "workload": s.workload, "reason": s.reason}
        for s in made.skips
    ]
    Console(soft_wrap=True).print_json(json.dumps({"cells": cells, "skips": skips}, ensure_ascii=False))


def print_table(made: Plan, done: set[str], spread: str = "") -> None:
    """One line per question; launches are counted, not repeated. `spread`: what the axes multiply it by."""
    console = Console()
    launches = Counter((c.profile.name, c.variant.name, c.runtime, c.asked) for c in made.cells)
    finished = Counter((c.profile.name, c.variant.name, c.runtime, c.asked) for c in made.cells if c.id in done)
    table = Table("device", "variant", "runtime", "workload", "launches", "finished", box=None)
    for key, count in launches.items():
        table.add_row(*key, str(count), str(finished[key]))
    console.print(table)
    console.print(f"{len(made.cells)} cells, {len(done)} finished already, in random order on each device")
    if spread:
        console.print(f"axes: {spread}")
    for skip in made.skips:
        console.print(f"skipped {skip.device} · {skip.variant} · {skip.workload}: {skip.reason}", style="yellow")
