"""Requests a second on a task, the farm ÷ lm-eval's own Hugging Face model on the same weights: goal ≥ 3.

    python benchmarks/lm_eval.py --tasks-dir FOLDER --task arc_easy --limit 100 --pairs 6 --json FILE

Both compute in float32 on the CPU with the same threads: the published weights there, the same widened to F32 here. The
clock runs over tokenising and scoring, not over start and load. Every choice must be the same on both sides, so that
accuracy is the same too, or the benchmark fails; it prints the largest difference of a log-likelihood.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import abba

from flows import task_requests
from quantfarm import metrics, tasks
from quantfarm.nouns import Trace
from quantfarm.runtimes.llama_cpp import LlamaCpp, runner_file
from quantfarm.sweeps import request
from quantfarm.tasks.requests import head_of
from quantfarm.toolchain import environments
from quantfarm.toolchain.conversion import requirements
from storage.home import Home

PEER = Path(__file__).resolve().parent / "lm_eval_peer.py"
PUBLISHED = abba.ROOT / "reference_model" / "model"
GOALS = {"requests": abba.at_least(3.0)}
#: As METHOD §6 check 7 compares: flash attention adds up in 16 bits.
EXACT = {"flash_attn": "off", "type_k": "f32", "type_v": "f32"}

Answers = list[tuple[float, bool]]


def widened(model: Path, out: Path) -> Path:
    asked = {"kind": "quantize", "source": str(model), "out": str(out), "quant": "F32", "threads": 1}
    abba.lines_of([sys.executable, "-P", str(runner_file("quantize_gguf.py")), "--request", json.dumps(asked)])
    return out


class Farm:
    """Our runner under the sampler, as in a sweep."""

    def __init__(self, model: Path, asked: Path, threads: int) -> None:
        self.under, cell = LlamaCpp(), abba.cell("tasks", task="benchmark", threads=threads, **EXACT)
        files = {name: str(path) for name, path in self.under.files(cell).items()}
        self.command = self.under.command(cell, {**files, "model": str(model), "requests": str(asked)})
        self.answers: Answers = []
        self.trace = Trace(events=())

    def __call__(self) -> abba.Figures:
        self.trace = abba.finished(self.under.parse(abba.lines_of(self.command)))
        items = sorted(self.trace.of("item"), key=lambda item: item["doc"])
        self.answers = [pair for item in items for pair in zip(item["ll"], item["greedy"], strict=True)]
        began, loaded = self.trace.first("begin")["t"], self.trace.first("loaded")["seconds"]
        seconds = (max(item["t"] for item in items) - began) / 1e9 - loaded
        return {"requests": len(self.answers) / seconds}


class Peer:
    """lm-eval's HFLM, its batches longest first as it makes them itself."""

    def __init__(self, model: Path, asked: Path, threads: int, batch: int, n_ctx: int) -> None:
        python = environments.python_of(environments.environment("lm-eval-hf", requirements(PEER)))
        options = ["--requests", str(asked), "--threads", str(threads), "--batch", str(batch), "--n-ctx", str(n_ctx)]
        self.command = [str(python), "-P", str(PEER), "--model", str(model), *options]
        self.answers: Answers = []

    def __call__(self) -> abba.Figures:
        ran: dict[str, Any] = json.loads(abba.lines_of(self.command)[-1])[0]
        self.answers = [(ll, greedy) for ll, greedy in ran["answers"]]
        return {"requests": len(self.answers) / ran["seconds"]}


def same_choices(trace: Trace, peer: Answers) -> float:
    """The largest difference of a log-likelihood. Ends the benchmark where a document's choice differs."""
    items = sorted(trace.of("item"), key=lambda item: item["doc"])
    largest, rest = 0.0, iter(peer)
    for item in items:
        theirs = [next(rest)[0] for _ in item["ll"]]
        largest = max(largest, *(abs(a - b) for a, b in zip(item["ll"], theirs, strict=True)))
        if item["ll"].index(max(item["ll"])) != theirs.index(max(theirs)):
            sys.exit(f"document {item['doc']}: {item['ll']} here, {theirs} there")
    return largest


def main() -> None:
    parser = abba.arguments("requests/s of the farm against lm-eval's Hugging Face model", pairs=6)
    parser.add_argument("--folder", type=Path, default=PUBLISHED, help="the same model as published (safetensors)")
    parser.add_argument("--task", default=tasks.CLOZE)
    parser.add_argument("--tasks-dir", type=Path)
    parser.add_argument("--n-shot", type=int, default=0)
    parser.add_argument("--limit", type=int, default=50, help="documents (default 50)")
    parser.add_argument("--batch", type=int, default=16, help="lm-eval's batch size (default 16)")
    given = parser.parse_args()
    content = {"tasks": [given.task], "tasks_dir": given.tasks_dir, "n_shot": given.n_shot, "limit": given.limit}
    with tempfile.TemporaryDirectory() as folder:
        asked = task_requests.requests(Home(Path(folder)), request(content, "the options"))[given.task]
        farm = Farm(widened(given.model, Path(folder) / "F32.gguf"), asked, given.threads)
        farm()
        n_ctx = farm.trace.first("tasks")["max_length"]
        peer = Peer(given.folder, asked, given.threads, given.batch, n_ctx)
        runs = abba.alternate(peer, farm, given.pairs)
        head = head_of(asked)
    figures = {one.metric: one.value for one in metrics.measure(farm.trace) if one.unit == "%"}
    settings = {"task": given.task, "n_shot": given.n_shot, "documents": head["n_docs"], "batch": given.batch}
    settings |= {"threads": given.threads, "largest difference, nats": same_choices(farm.trace, peer.answers)}
    result = farm.trace.of("result")[0]
    settings |= {"tokens decoded": result["decoded"], "tokens of all requests": result["asked"], **figures}
    settings["build"] = LlamaCpp().build()
    abba.report(f"{given.task}, requests a second", ("lm-eval", "farm"), runs, GOALS, settings, given.json)
    print(json.dumps(settings, indent=1))


if __name__ == "__main__":
    main()
