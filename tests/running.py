"""Running a runner as an agent does: its stdin held open, its lines collected."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUNNERS = ROOT / "runners"

#: Context parameters of every request; one thread, as for all test inference.
CONTEXT: dict[str, Any] = {
    "n_batch": 2048,
    "n_ubatch": 512,
    "threads": 1,
    "flash_attn": "on",
    "type_k": "f16",
    "type_v": "f16",
    "n_gpu_layers": 0,
}


@dataclass(frozen=True)
class Ran:
    code: int
    lines: tuple[str, ...]
    stderr: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def end(self) -> dict[str, Any]:
        return self.events[-1]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]


def run(command: Sequence[str], *, limit: float = 300) -> Ran:
    """Runs to the end; the lifeline stays open until then."""
    pipe = subprocess.PIPE
    with subprocess.Popen(list(command), stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            lifeline, process.stdin = process.stdin, None  # communicate() would close it
            out, err = process.communicate(timeout=limit)
        finally:
            process.kill()
        assert lifeline
        lifeline.close()
    return Ran(process.returncode, tuple(out.splitlines()), err)


def command(name: str, *arguments: str) -> list[str]:
    """The command of a runner by its file's name."""
    return [sys.executable, "-P", str(RUNNERS / name), *arguments]


def llama_cpp(kind: str, model: Path | str, /, **parameters: Any) -> list[str]:
    """The command of the llama.cpp runner for a request."""
    request: Mapping[str, Any] = {**CONTEXT, "kind": kind, "model": str(model), **parameters}
    return command("llama_cpp.py", "--request", json.dumps(request))
