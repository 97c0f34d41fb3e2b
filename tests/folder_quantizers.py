"""Starting the runners that make folders as the farm does: in their own environment, with an open stdin."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantfarm import corpus
from quantfarm.nouns import Recipe, Scalar, Trace, parameters
from quantfarm.quantizers import Quantizer, quantizer
from quantfarm.toolchain import conversion, environments
from tests.conftest import ROOT

MODEL = ROOT / "reference_model" / "model"
#: One thread, as for all test inference; nothing is fetched. Libraries are compiled once: to import torch and
#: transformers from their sources takes three times as long.
QUIET = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "PYTHONDONTWRITEBYTECODE": ""}


def python_of(made_by: Quantizer) -> Path:
    """The interpreter of its environment, which is made where it is not there."""
    made = environments.environment(made_by.environment, conversion.requirements(made_by.runner))
    return environments.python_of(made)


def files_of(folder: Path) -> dict[str, str]:
    return {f"source/{path.name}": str(path) for path in folder.iterdir()}


def start(
    name: str,
    out: Path,
    quant: str,
    options: Mapping[str, Scalar] | None = None,
    source: Path = MODEL,
    calibration: Path | None = None,
    **popen: Any,
) -> subprocess.Popen[str]:
    made_by = quantizer(name)
    recipe = Recipe(source="of the test", quantizer=name, quant=quant, options=parameters(options))
    files = {**files_of(source), "python": str(python_of(made_by))}
    if calibration:
        files["calibration"] = str(calibration)
    pipe = subprocess.PIPE
    return subprocess.Popen(
        made_by.command(recipe, files, str(out)),
        stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **QUIET}, **popen,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> Trace:
    """Its events; its stdin stays open until it has ended."""
    with process:
        assert process.stdout
        lines = process.stdout.read().splitlines()
        process.wait()
    return Trace(events=tuple(json.loads(line) for line in lines))


def until(process: subprocess.Popen[str], event: str, times: int = 1) -> None:
    """Reads its events up to one of a kind."""
    assert process.stdout
    while times:
        line = process.stdout.readline()
        assert line, "it ended before"
        times -= json.loads(line)["event"] == event


def quantize(name: str, out: Path, quant: str, options: Mapping[str, Scalar] | None = None, **more: Any) -> Trace:
    return finish(start(name, out, quant, options, **more))


def made(name: str, trace: Trace) -> Mapping[str, Any]:
    assert trace.finished, trace.first("end")
    return quantizer(name).parse(trace)


def error_of(trace: Trace) -> str:
    assert not trace.finished
    return str(trace.first("end")["error"])


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def damaged(folder: Path, out: Path, **changed: bytes) -> Path:
    """A copy of a model; `config` and `weights` take the place of config.json and model.safetensors."""
    out.mkdir()
    given = {"config.json": changed.get("config"), "model.safetensors": changed.get("weights")}
    for path in folder.iterdir():
        content = given.get(path.name)
        (out / path.name).write_bytes(path.read_bytes() if content is None else content)
    return out


def calibration_text(path: Path) -> Path:
    """A text of the training part."""
    path.write_text("\n".join(corpus.documents(held_out=False)[:40])[:400_000], encoding="utf-8")
    return path


def held_out_text(path: Path) -> Path:
    """The text that the checks measure perplexity on."""
    path.write_bytes(corpus.held_out_text()[:20_000].decode(errors="ignore").encode())
    return path
