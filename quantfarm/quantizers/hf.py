"""The model as it was published: its Hugging Face folder, used as it is. What the others are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from quantfarm.errors import FarmError
from quantfarm.nouns import Recipe, Scalar, Trace


class Hf:
    """Makes nothing: `quantfarm.models.folder.described` says what a folder is."""

    name = "hf"
    format = "hf"
    folder = True
    source = "hf"
    environment = ""
    runner = Path()
    quants: tuple[str, ...] = ("HF",)
    options: Mapping[str, Scalar] = MappingProxyType({})

    def tool(self) -> str:
        return ""

    def needs(self, recipe: Recipe) -> tuple[str, ...]:
        del recipe
        return ()

    def obstacle(self, facts: Mapping[str, Any]) -> str:
        """What its runtime cannot load, the runtime says."""
        del facts
        return ""

    def files(self) -> Mapping[str, Path]:
        return {}

    def command(self, recipe: Recipe, files: Mapping[str, str], out: str) -> Sequence[str]:
        del files, out
        raise FarmError(f"{recipe.quant} is used as it was published: there is nothing to make")

    def parse(self, trace: Trace) -> Mapping[str, Any]:
        del trace
        raise FarmError("a folder that is used as it was published has no trace of its making")
