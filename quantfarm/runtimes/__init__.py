"""Runtimes: how to run a variant on a device. One file and one line here each.

A runtime only builds a command and reads what it printed; agents run commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from quantfarm import tables
from quantfarm.nouns import Cell, Trace

TABLE: dict[str, str] = {
    "llama_cpp": "quantfarm.runtimes.llama_cpp:LlamaCpp",
    "llama_bench": "quantfarm.runtimes.llama_bench:LlamaBench",
    "llama_native": "quantfarm.runtimes.llama_native:LlamaNative",
    "mlx": "quantfarm.runtimes.mlx:Mlx",
    "transformers": "quantfarm.runtimes.transformers:Transformers",
}


class Runtime(Protocol):
    """`formats` and `workloads` say what it can do; a cell outside them is skipped by the plan.

    `environment`: the name of the Python environment that `runner` needs; empty: it runs in the farm's own
    interpreter, or needs no Python.
    """

    name: str
    formats: frozenset[str]
    workloads: frozenset[str]
    environment: str
    runner: Path

    def build(self) -> str:
        """Name and version of what will run, e.g. `llama-cpp-python 0.3.36`; empty when not installed."""
        ...

    def files(self, cell: Cell) -> Mapping[str, Path]:
        """What must be on the device besides the model and the text: runners and tools here, by the names that
        `command` knows them by. Raises UsageError for a tool that has not been built for the device's platform."""
        ...

    def command(self, cell: Cell, files: Mapping[str, str]) -> Sequence[str]:
        """The argument list to run on the device. `files` are paths there: `model` (or `model/<name>` of each file
        of a folder), for quality cells `text` and `base_logits`, for tasks `requests` and `answered`, those of
        `files()`, and `python`, the interpreter of the runtime's environment there."""
        ...

    def parse(self, lines: Iterable[str]) -> Trace:
        """The trace from the lines printed. Raises ValueError on a line that is no event."""
        ...


def runtime(name: str) -> Runtime:
    """Raises UsageError for an unknown name."""
    return tables.load(TABLE, name, "runtime")()
