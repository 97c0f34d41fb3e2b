"""llama.cpp through llama-cpp-python, measured by our own runner with the sampler beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from quantfarm.errors import UsageError
from quantfarm.nouns import Cell, Trace
from quantfarm.runtimes import events, serving

#: Samples a second of the sampler beside a run (METHOD §4).
HZ = 10
#: Kinds of workload that the runner loads from a file of their own: what is not asked for weighs nothing.
EXTENSIONS: dict[str, str] = {
    "tasks": "llama_cpp_tasks.py",
    "rolling": "llama_cpp_rolling.py",
    "sustained": "llama_cpp_sustained.py",
    "speculative": "llama_cpp_speculative.py",
    "answer": "llama_cpp_answer.py",
    serving.KIND: "llama_cpp_serve.py",
}
#: What a request names by its path on the device.
PATHS = ("model", "text", "base_logits", "out", "requests", "answered", "items", "draft", "extension")


def runner_file(name: str) -> Path:
    """A program of `runners/`, which lies beside the package. Raises UsageError when it is not there."""
    path = Path(__file__).resolve().parents[2] / "runners" / name
    if not path.is_file():
        raise UsageError(f"the runner {name} is missing from {path.parent}: install quantfarm again")
    return path


def sampled(python: str, files: Mapping[str, str], *options: str) -> list[str]:
    """The start of a command that is run under the sampler; the command itself follows."""
    sampler = files.get("sampler") or str(runner_file("sampler.py"))
    return [python, "-P", sampler, "--hz", str(HZ), *options, "--"]


class LlamaCpp:
    name = "llama_cpp"
    formats = frozenset({"gguf"})
    workloads = frozenset({"bench", "app", "quality", "logits", "tokens", *EXTENSIONS})
    environment = ""
    runner = Path(__file__).resolve().parents[2] / "runners" / "llama_cpp.py"

    def build(self) -> str:
        try:
            return f"llama-cpp-python {metadata.version('llama-cpp-python')}"
        except metadata.PackageNotFoundError:
            return ""

    def files(self, cell: Cell) -> Mapping[str, Path]:
        found = {"runner": runner_file("llama_cpp.py"), "sampler": runner_file("sampler.py"), **serving.files(cell)}
        if more := EXTENSIONS.get(cell.workload.kind):
            found["extension"] = runner_file(more)
        if cell.workload.kind == "tasks":
            found["items"] = runner_file("task_items.py")
        return found

    def command(self, cell: Cell, files: Mapping[str, str]) -> Sequence[str]:
        """`files`: `model`; for quality `text` and perhaps `base_logits`; for logits `text` and `out`; on
        other machines also `python`, `runner` and `sampler`."""
        python = files.get("python") or sys.executable
        runner = files.get("runner") or str(runner_file("llama_cpp.py"))
        request = json.dumps(self.request(cell, files), ensure_ascii=True)
        watched = sampled(python, files) if cell.workload.kind != serving.KIND else []  # nothing is measured
        return [*watched, python, "-P", runner, "--request", request]

    def request(self, cell: Cell, files: Mapping[str, str]) -> dict[str, object]:
        """What the runner is asked: the workload's parameters and the paths on the device."""
        paths = {name: files[name] for name in PATHS if name in files}
        asked = {name: value for name, value in cell.workload.settings.items() if name != "canary"}  # the farm's own
        return {**asked, "kind": cell.workload.kind, **paths, **serving.asked(cell, files)}

    def parse(self, lines: Iterable[str]) -> Trace:
        return events.parse(lines)
