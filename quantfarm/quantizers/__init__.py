"""Quantizers: how to make a variant. One file and one line here each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from quantfarm import tables
from quantfarm.nouns import Recipe, Trace

TABLE: dict[str, str] = {
    "gguf": "quantfarm.quantizers.gguf:Gguf",
}


class Quantizer(Protocol):
    """`quants` are the quantizations it makes; `format` is what comes out."""

    name: str
    format: str
    quants: tuple[str, ...]

    def tool(self) -> str:
        """Name and version of the tool: part of every recipe."""
        ...

    def command(self, recipe: Recipe, source: str, out: str) -> Sequence[str]:
        """The argument list that makes `out` from `source` (paths on the host that runs it)."""
        ...

    def parse(self, trace: Trace) -> Mapping[str, Any]:
        """`bits_per_weight`, `types`, `fallbacks`, `facts` of what was made, from its trace."""
        ...


def quantizer(name: str) -> Quantizer:
    """Raises UsageError for an unknown name."""
    return tables.load(TABLE, name, "quantizer")()
