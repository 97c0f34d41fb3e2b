"""Starting the quantizer's runner as the farm does: a process of its own with an open stdin."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from quantfarm.nouns import Recipe, Trace
from quantfarm.quantizers.gguf import Gguf


def start(source: Path, out: Path, quant: str, quantizer: str = "gguf", **popen: Any) -> subprocess.Popen[str]:
    made_by = Gguf()
    recipe = Recipe(source="of the test", quantizer=quantizer, quant=quant, tool=made_by.tool())
    command = made_by.command(recipe, {"source": str(source)}, str(out))
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, **popen)


def finish(process: subprocess.Popen[str]) -> Trace:
    """Its events; its stdin stays open until it has ended."""
    with process:
        assert process.stdout
        lines = process.stdout.read().splitlines()
        process.wait()
    return Trace(events=tuple(json.loads(line) for line in lines))


def quantize(source: Path, out: Path, quant: str, **popen: Any) -> Trace:
    return finish(start(source, out, quant, **popen))


def error_of(trace: Trace) -> str:
    assert not trace.finished
    return str(trace.first("end")["error"])
