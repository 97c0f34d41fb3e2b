"""llama.cpp's own quantizations, made by the runner `quantize_gguf.py` through llama-cpp-python."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from quantfarm.errors import UsageError, unknown
from quantfarm.nouns import Recipe, Scalar, Trace
from quantfarm.quantizers import AS_IS, result_of

RUNNER = Path(__file__).resolve().parent.parent.parent / "runners" / "quantize_gguf.py"


#: Types of so few bits that llama.cpp refuses to make them without an importance matrix.
WITH_IMATRIX = ("IQ3_XS", "IQ3_XXS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S")
#: Types that an importance matrix does not change: nothing is chosen when they are rounded.
WITHOUT = ("F32", "BF16", "F16", "Q8_0")


class Gguf:
    """GGUF types, plain or made with an importance matrix (`+imatrix`).

    `command` of an `as_is` recipe makes nothing: it reads what the given file is.
    """

    name = "gguf"
    format = "gguf"
    folder = False
    source = "gguf"
    environment = ""
    runner = RUNNER
    options: Mapping[str, Scalar] = MappingProxyType({"imatrix": False})
    quants: tuple[str, ...] = (
        *("F32", "BF16", "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0"),
        *("IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "Q2_K"),
        *WITH_IMATRIX,
    )

    def tool(self) -> str:
        """`llama-cpp-python 0.3.36`; empty when it is not installed."""
        try:
            return f"llama-cpp-python {importlib.metadata.version('llama-cpp-python')}"
        except importlib.metadata.PackageNotFoundError:
            return ""

    def check(self, quant: str, options: Mapping[str, Scalar]) -> None:
        """Raises UsageError for a type that needs an importance matrix and has none, or has one and needs none."""
        if quant in WITH_IMATRIX and not options.get("imatrix"):
            raise UsageError(f"{quant} has so few bits that it needs an importance matrix: ask for {quant}+imatrix")
        if quant in WITHOUT and options.get("imatrix"):
            raise UsageError(f"an importance matrix changes nothing in {quant}: ask for {quant}")

    def needs(self, recipe: Recipe) -> tuple[str, ...]:
        return ("imatrix",) if dict(recipe.options).get("imatrix") else ()

    def obstacle(self, facts: Mapping[str, Any]) -> str:
        """The converter has said what it cannot do before a GGUF is there."""
        del facts
        return ""

    def files(self) -> Mapping[str, Path]:
        return {"runner": self.runner}

    def command(self, recipe: Recipe, files: Mapping[str, str], out: str) -> Sequence[str]:
        """Raises UsageError for a quantization that is not made here."""
        request: dict[str, Any] = {"kind": "inspect", "source": files["source"]}
        if recipe.quantizer != AS_IS:
            self._check(recipe)
            request = {"kind": "quantize", "source": files["source"], "out": out, "quant": recipe.quant}
            if self.needs(recipe):
                request["imatrix"] = files["imatrix"]
        python, runner = files.get("python") or sys.executable, files.get("runner") or str(RUNNER)
        return [python, "-P", runner, "--request", json.dumps(request, sort_keys=True)]

    def parse(self, trace: Trace) -> Mapping[str, Any]:
        """Raises ValueError when the trace holds no result."""
        return result_of(trace)

    def _check(self, recipe: Recipe) -> None:
        if recipe.quant not in self.quants:
            raise unknown("quant", recipe.quant, self.quants)
        self.check(recipe.quant, dict(recipe.options))
