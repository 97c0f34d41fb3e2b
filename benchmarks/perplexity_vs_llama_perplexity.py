"""Tokens evaluated a second for perplexity, the farm ÷ llama-perplexity: goal ≥ 0.95.

    python benchmarks/perplexity_vs_llama_perplexity.py --pairs 10 --json docs/benchmarks/perplexity.json

`evaluating` is from the first chunk's start to the last one's score, `process` the whole process's
wall time, start and tokenising included. Both print the same perplexity, or the benchmark fails.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import abba

from quantfarm import metrics, toolchain
from quantfarm.corpus import held_out_text
from quantfarm.nouns import Cell, metric_of
from quantfarm.runtimes.llama_cpp import LlamaCpp

#: A line of llama.cpp's log begins with minutes.seconds.milliseconds.microseconds since its start.
STAMP = r"^(\d+)\.(\d+)\.(\d+)\.(\d+) I "
GOALS = {"evaluating": abba.at_least(0.95)}


def rates(tokens: int, evaluating: float, process: float) -> abba.Figures:
    """In tokens a second."""
    return {"evaluating": tokens / evaluating, "process": tokens / process}


def stamp(log: str, words: str) -> float:
    """When a line was logged, in seconds."""
    found = re.search(STAMP + words, log, re.MULTILINE)
    if not found:
        sys.exit(f"llama-perplexity logged no '{words}':\n{log[-2000:]}")
    minutes, seconds, milli, micro = map(int, found.groups()[:4])
    return 60 * minutes + seconds + milli / 1e3 + micro / 1e6


class Farm:
    """Our runner under the sampler, as in a sweep."""

    def __init__(self, asked: Cell, model: str, text: str) -> None:
        self.under = LlamaCpp()
        self.command = self.under.command(asked, {"model": model, "text": text})
        self.ppl = math.nan

    def __call__(self) -> abba.Figures:
        began = time.perf_counter()
        trace = abba.finished(self.under.parse(abba.lines_of(self.command)))
        process = time.perf_counter() - began
        ppl = metric_of(metrics.measure(trace), "ppl")
        assert ppl
        self.ppl = ppl.value
        chunks = trace.of("chunk")
        # From the moment the model and a context are loaded: the first chunk starts then.
        evaluating = (chunks[-1]["t"] - trace.first("loaded")["t"]) / 1e9
        return rates(len(chunks) * trace.first("tokens")["n_ctx"], evaluating, process)


class Peer:
    """llama-perplexity itself, with the same settings."""

    def __init__(self, asked: Cell, model: str, text: str) -> None:
        s = {name: str(value) for name, value in asked.workload.settings.items()}
        context = ["-c", s["n_ctx"], "-b", s["n_batch"], "-ub", s["n_ubatch"], "-t", s["threads"], "-fa", "on"]
        chunks = [] if s["n_chunks"] == "None" else ["--chunks", s["n_chunks"]]
        tool = str(toolchain.tool("llama-perplexity"))
        self.command = [tool, "-m", model, "-f", text, *context, *chunks, "-dev", "none"]
        self.n_ctx, self.ppl = int(s["n_ctx"]), math.nan

    def __call__(self) -> abba.Figures:
        """Its log is written by a thread that its exit does not wait for: a run whose end is lost is run again."""
        while True:
            began = time.perf_counter()
            # Both streams into one pipe: its log is written to them in turn, mid-line too.
            ran = subprocess.run(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
            process, log = time.perf_counter() - began, ran.stdout
            found = re.search(r"Final estimate: PPL = ([\d.]+) \+/-", log)
            if found:
                break
        chunks = re.search(r"over (\d+) chunks", log)
        assert chunks, log[-2000:]
        self.ppl = float(found[1])
        evaluating = stamp(log, "Final estimate") - stamp(log, "perplexity: calculating")
        return rates(int(chunks[1]) * self.n_ctx, evaluating, process)


def main() -> None:
    parser = abba.arguments("perplexity tokens/s of the farm against llama-perplexity")
    parser.add_argument("--text", type=Path, help="text file (default: the held-out corpus)")
    parser.add_argument("--chunks", type=int, default=40, help="chunks of 512 tokens (default 40)")
    given = parser.parse_args()
    asked = abba.cell("quality", threads=given.threads, n_chunks=given.chunks)
    with tempfile.TemporaryDirectory() as folder:
        text = given.text or Path(folder) / "held-out.txt"
        if not given.text:
            text.write_bytes(held_out_text())
        farm, peer = (side(asked, str(given.model), str(text)) for side in (Farm, Peer))
        runs = abba.alternate(peer, farm, given.pairs)
    if not math.isclose(farm.ppl, peer.ppl, rel_tol=1e-5, abs_tol=6e-5):
        sys.exit(f"perplexities differ: {farm.ppl:.6f} here, {peer.ppl:.4f} there")
    settings = {**asked.workload.settings, "model": given.model.name, "build": LlamaCpp().build(), "ppl": farm.ppl}
    abba.report("perplexity, tokens a second", ("llama-perplexity", "farm"), runs, GOALS, settings, given.json)


if __name__ == "__main__":
    main()
