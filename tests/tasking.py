"""Requests files and runs of tasks for tests: real runners on the reference model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from quantfarm.nouns import Trace
from quantfarm.runtimes import events
from quantfarm.tasks.requests import doc_hash, file_of

RUNNERS = Path(__file__).resolve().parent.parent / "runners"
CONTEXT = {"n_batch": 2048, "n_ubatch": 512, "type_k": "f32", "type_v": "f32", "n_gpu_layers": 0, "threads": 1}


def document(
    doc: int, context: str | Sequence[str], continuations: Sequence[str], gold: int = 0, group: str = ""
) -> dict[str, Any]:
    asked = {"context": context, "continuations": list(continuations)}
    about = {"lengths": [len(text) for text in continuations], "gold": gold, "group": group}
    return {"doc": doc, "doc_hash": doc_hash({**asked, "doc": doc}), **asked, **about}


def write_requests(path: Path, documents: Sequence[Mapping[str, Any]], **head: Any) -> Path:
    n = len(documents)
    usual = {"task": "made_up", "version": "1", "n_shot": 0, "limit": None, "n_docs": n, "of_docs": n, "whole": n}
    usual |= {"metrics": ["acc", "acc_norm"], "source": "a test", "lm_eval": ""}
    path.write_bytes(file_of(usual | head, documents))
    return path


def command(model: Path, requests: Path, **more: Any) -> list[str]:
    """llama.cpp without flash attention, whose accumulation in 16 bits would hide small errors."""
    request = {"kind": "tasks", "model": str(model), "requests": str(requests), "flash_attn": "off", **CONTEXT}
    request |= {"items": str(RUNNERS / "task_items.py"), "extension": str(RUNNERS / "llama_cpp_tasks.py"), **more}
    return [sys.executable, "-P", str(RUNNERS / "llama_cpp.py"), "--request", json.dumps(request)]


def run(model: Path, requests: Path, **more: Any) -> Trace:
    """Of a run whose stdin stays open to its end; its events whatever became of it."""
    with subprocess.Popen(command(model, requests, **more), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        return events.parse(line.decode() for line in process.stdout)


def answers(trace: Trace) -> list[tuple[float, bool]]:
    """(log-likelihood, greedy) of every request in the order of the file."""
    items = sorted(trace.of("item"), key=lambda item: item["doc"])
    return [pair for item in items for pair in zip(item["ll"], item["greedy"], strict=True)]


def texts(trace: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(event) + "\n" for event in trace)
