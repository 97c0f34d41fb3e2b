"""A GGUF file as a model: read by the quantizer's runner, so that what is said of it is llama.cpp's own view."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantfarm.errors import FarmError, UsageError
from quantfarm.models import digests
from quantfarm.models.source import ModelSource
from quantfarm.nouns import Recipe, Trace
from quantfarm.quantizers import AS_IS
from quantfarm.quantizers.gguf import Gguf

LIMIT_S = 300.0


def inspect(path: Path) -> Mapping[str, Any]:
    """`bits_per_weight`, `types` and `facts` of a GGUF, remembered.

    Raises UsageError for a file that is no GGUF, or is truncated (its size, and what its header promises).
    """
    read: Mapping[str, Any] = digests.remembered(path, "gguf", _inspect)
    return read


def _inspect(path: Path) -> dict[str, Any]:
    command = Gguf().command(Recipe(source="", quantizer=AS_IS, quant=""), {"source": str(path)}, "")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout and reader.stderr
        try:
            lines = reader.stdout.read().splitlines()
            said = reader.stderr.read().strip()
            reader.wait(LIMIT_S)
        except BaseException:
            reader.kill()
            raise
    trace = Trace(events=tuple(json.loads(line) for line in lines))
    if trace.finished:
        return {key: value for key, value in Gguf().parse(trace).items() if key != "fallbacks"}
    end = trace.first("end")
    if end.get("stage") == "load":
        raise UsageError(str(end["error"]))
    raise FarmError(f"{path} could not be read: {end.get('error') or said.splitlines()[-1:] or reader.returncode}")


def file(path: Path, name: str = "") -> ModelSource:
    """Raises UsageError for what is no whole GGUF."""
    facts = inspect(path)["facts"]
    return ModelSource(
        name=name or path.stem,
        kind="gguf",
        id=digests.sha256(path),
        path=path,
        format="gguf",
        quant=facts["file_type"],
        n_params=facts["n_params"],
        size=facts["size"],
        facts=facts,
    )
