"""Asks llama.cpp, through `runners/llama_cpp_fits.py`, what it would need. No weight is read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents import agent
from flows import devices
from quantfarm.errors import FarmError
from quantfarm.memory_model.contexts import Context
from quantfarm.memory_model.tensors import Tensor
from quantfarm.nouns import Trace
from quantfarm.runtimes import events
from quantfarm.runtimes.llama_cpp import runner_file
from storage.home import Home

LIMIT_S = 600.0
#: In place of a quantization: the types that a file has.
AS_IS = "as_is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffers:
    """Of a context, in MiB, as llama.cpp reserves them; `refused`: why it makes no such context."""

    kv: float = 0.0
    compute: float = 0.0
    output: float = 0.0
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """`shape`: n_ctx_train, n_embd, n_ff, n_swa, … by llama.cpp; `held`: MiB of vocabulary and listings."""

    shape: Mapping[str, Any]
    held: float
    buffers: Mapping[Context, Buffers]


def ask(home: Home, request: Mapping[str, Any], what: str) -> Trace:
    """Raises FarmError with what llama.cpp said."""
    here, lines = agent(devices.known(home)[devices.LOCAL]), list[str]()
    command = [sys.executable, "-P", str(runner_file("llama_cpp_fits.py")), "--request", json.dumps(request)]
    left = here.run(command, on_line=lines.append, limit_s=LIMIT_S)
    try:
        trace = events.parse(lines)
    except ValueError as error:
        raise FarmError(f"{what}: printed what is not an event: {error}") from error
    if not trace.finished:
        said = left.stderr.strip().splitlines()[-1:] or [f"exit status {left.code}"]
        raise FarmError(f"{what}: {trace.first('end').get('error') or left.reason or said[0]}")
    return trace


def tensors(home: Home, model: Path, quants: Sequence[str]) -> dict[str, list[Tensor]]:
    """Type and bytes of each tensor by quantization, from a dry run of the quantizer. Raises FarmError."""
    trace = ask(home, {"kind": "types", "model": str(model), "quants": list(quants)}, f"types of {model.name}")
    return {
        found["quant"]: [Tensor(name, tuple(shape), kind, size) for name, shape, kind, size in found["tensors"]]
        for found in trace.of("result")
    }


def buffers(home: Home, model: Path, contexts: Iterable[Context]) -> Said:
    """What llama.cpp would reserve for each context, and what it holds besides. Raises FarmError."""
    wanted = list(dict.fromkeys(contexts))
    request = {"kind": "buffers", "model": str(model), "contexts": [asdict(one) for one in wanted]}
    results = ask(home, request, f"buffers of {model.name}").of("result")
    about = results[0]
    found = {Context(**one["asked"]): _buffers(one) for one in results[1:]}
    shape = {name: about[name] for name in about if name.startswith("n_")}
    return Said(shape=shape, held=about["held_mib"], buffers=found)


def _buffers(one: Mapping[str, Any]) -> Buffers:
    if "refused" in one:
        return Buffers(refused=str(one["refused"]))
    return Buffers(kv=one["kv_mib"], compute=one["compute_mib"], output=one["output_mib"])
