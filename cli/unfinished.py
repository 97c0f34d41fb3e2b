"""The sweeps that can be gone on with: cut off, stopped, failed."""

from __future__ import annotations

from rich.console import Console

from cli.output import print_json, print_rows
from storage import sweeps
from storage.home import Home

COLUMNS = ("sweep", "model", "finished", "cells", "began_at", "state")


def show(home: Home, as_json: bool) -> None:
    rows = [
        {
            "sweep": one.sweep,
            "model": one.model,
            "finished": one.finished,
            "cells": len(one.cells),
            "began_at": one.began_at,
            "state": "running" if one.alive else one.state or "cut off",
        }
        for one in sweeps.unfinished(home, ended=True)
    ]
    if as_json:
        print_json(rows)
    elif rows:
        print_rows(rows, COLUMNS)
        Console(soft_wrap=True).print("go on with one: quantfarm sweep --resume SWEEP", markup=False, highlight=False)
    else:
        Console().print("No sweep is unfinished.")
