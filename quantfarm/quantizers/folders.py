"""What the quantizers share that make a folder from a model's Hugging Face folder, each by a runner of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from quantfarm.errors import UsageError, unknown
from quantfarm.nouns import Recipe, Scalar, Trace
from quantfarm.quantizers import folder_of, result_of
from quantfarm.toolchain import conversion, environments

RUNNERS = Path(__file__).resolve().parent.parent.parent / "runners"
NOTHING: Mapping[str, Path] = MappingProxyType({})


class FolderQuantizer:
    """A quantizer's own file says its names, options, environment and runner, and which models it cannot do.

    `package`: what of its environment does the work; `values`: option -> what it may be, where not every value is
    possible; `beside`: files that the runner needs beside itself, by their name in its request.
    """

    name: str
    format: str
    quants: tuple[str, ...]
    options: Mapping[str, Scalar] = MappingProxyType({})
    environment: str
    package: ClassVar[str]
    runner: Path
    values: ClassVar[Mapping[str, Sequence[int]]] = MappingProxyType({})
    learns: ClassVar[bool] = False  # from a calibration text
    folder = True
    source = "hf"
    beside: Mapping[str, Path] = MappingProxyType({"shared": RUNNERS / "quantize_folder.py"})

    @property
    def requirements(self) -> list[str]:
        return conversion.requirements(self.runner)

    def tool(self) -> str:
        """E.g. `mlx-lm 0.32.2`; empty while its environment is not made."""
        return environments.version_in(self.environment, self.requirements, self.package)

    def packages(self) -> Path | None:
        """Where its environment keeps its packages; None while it is not made."""
        made = environments.made(self.environment, self.requirements)
        return next(iter(sorted(made.glob("lib/python3.*/site-packages"))), None) if made else None

    def needs(self, recipe: Recipe) -> tuple[str, ...]:
        del recipe
        return ("calibration",) if self.learns else ()

    def files(self) -> Mapping[str, Path]:
        """What must lie on the host that runs it: the runner, and the files beside it."""
        return {"runner": self.runner, **self.beside}

    def check(self, quant: str, options: Mapping[str, Scalar]) -> None:
        """Raises UsageError for a quantization or an option that is not made here."""
        if quant not in self.quants:
            raise unknown("quant", quant, self.quants)
        for key, value in options.items():
            if key not in self.options:
                raise unknown(f"option of {quant}", key, self.options)
            known = self.values.get(key)
            if known is not None and value not in known:
                raise UsageError(f"{quant}+{key}={value}: {key} is {_said(known)}")

    def given(self, recipe: Recipe) -> dict[str, Scalar]:
        """The options as the user gave them; hashes of what is learnt from are the recipe's business."""
        return {key: value for key, value in recipe.options if not key.endswith("_sha256")}

    def command(self, recipe: Recipe, files: Mapping[str, str], out: str) -> Sequence[str]:
        """Raises UsageError for a quantization or an option that is not made here."""
        self.check(recipe.quant, self.given(recipe))
        request: dict[str, Any] = {
            "kind": "quantize",
            "source": folder_of(files, "source"),
            "out": out,
            "quant": recipe.quant,
            "options": self.given(recipe),
            **{name: files[name] for name in self.needs(recipe)},
            **{name: files.get(name) or str(path) for name, path in self.beside.items()},
        }
        python, runner = files.get("python") or sys.executable, files.get("runner") or str(self.runner)
        return [python, "-P", runner, "--request", json.dumps(request, sort_keys=True)]

    def parse(self, trace: Trace) -> Mapping[str, Any]:
        """Raises ValueError when the trace holds no result."""
        return result_of(trace)


def _said(known: Sequence[int]) -> str:
    if isinstance(known, range):
        return f"a whole number from {known.start} to {known.stop - 1}"
    return f"one of {', '.join(str(value) for value in known)}"
