"""Importance matrices of llama.cpp: how much each column of a model's weights matters on the calibration text.

An artifact like any other, with a recipe of its own, made once for all variants of a model that want it. Nobody asks
for it by name: `Q4_K_M+imatrix` does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from quantfarm.calibration import NEEDED_TOKENS
from quantfarm.nouns import Recipe, Scalar, Trace, parameters
from quantfarm.quantizers.gguf import Gguf

#: The most chunks that are read: beyond a hundred, quants hardly change.
CHUNKS = 100
QUANT = "imatrix"


def recipe_for(variant: Recipe) -> Recipe:
    """The recipe of the importance matrix that a variant is made with: of the same source and calibration text."""
    return Recipe(
        source=variant.source,
        quantizer=Imatrix.name,
        quant=QUANT,
        tool=Imatrix().tool(),
        options=parameters(calibration_sha256=dict(variant.options)["calibration_sha256"], chunks=CHUNKS),
    )


class Imatrix:
    """Made by the runner `imatrix_gguf.py`; what comes out is a GGUF of type imatrix."""

    name = "imatrix"
    format = "imatrix"
    folder = False
    source = "gguf"
    environment = ""
    runner = Path(__file__).resolve().parents[2] / "runners" / "imatrix_gguf.py"
    quants: tuple[str, ...] = ()
    options: Mapping[str, Scalar] = MappingProxyType({})

    def tool(self) -> str:
        """As of the GGUFs that are made with it."""
        return Gguf().tool()

    def needs(self, recipe: Recipe) -> tuple[str, ...]:
        del recipe
        return ("calibration",)

    def obstacle(self, facts: Mapping[str, Any]) -> str:
        """What has no blocks, llama.cpp says."""
        del facts
        return ""

    def files(self) -> Mapping[str, Path]:
        return {"runner": self.runner}

    def command(self, recipe: Recipe, files: Mapping[str, str], out: str) -> Sequence[str]:
        chunks = dict(recipe.options)["chunks"]
        return self._runner({"source": files["source"], "out": out, "chunks": chunks}, files)

    def count(self, files: Mapping[str, str], needed: int = NEEDED_TOKENS) -> Sequence[str]:
        """The command that fails where the calibration text has fewer tokens of the model `source`."""
        return self._runner({"kind": "tokens", "source": files["source"], "needed_tokens": needed}, files)

    def _runner(self, asked: Mapping[str, Any], files: Mapping[str, str]) -> Sequence[str]:
        request = {"needed_tokens": NEEDED_TOKENS, **asked, "calibration": files["calibration"]}
        python, runner = files.get("python") or sys.executable, files.get("runner") or str(self.runner)
        return [python, "-P", runner, "--request", json.dumps(request, sort_keys=True)]

    def parse(self, trace: Trace) -> Mapping[str, Any]:
        """Raises ValueError when the trace holds no result."""
        result = trace.first("result")
        if not result:
            raise ValueError("no result event")
        facts = {key: value for key, value in result.items() if key not in ("event", "t")}
        return {"bits_per_weight": 0.0, "types": {}, "fallbacks": (), "facts": facts}
