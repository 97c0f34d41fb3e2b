"""The farm's bench figures ÷ llama-bench's, the tool built from the same sources: goal 1.00 ± 0.02 (tg), ± 0.03 (pp).

    python benchmarks/speed_vs_llama_bench.py --pairs 10 --json docs/benchmarks/speed_vs_llama_bench.json

The farm measures as in a sweep, with its sampler beside the run; llama-bench runs bare.
"""

from __future__ import annotations

import abba

from quantfarm import metrics, toolchain
from quantfarm.nouns import Cell, Trace
from quantfarm.runtimes.llama_bench import LlamaBench
from quantfarm.runtimes.llama_bench import arguments as options
from quantfarm.runtimes.llama_cpp import LlamaCpp

GOALS = {"bench_tg": abba.within(0.02), "bench_pp": abba.within(0.03)}


def figures(trace: Trace) -> abba.Figures:
    return {m.metric: m.value for m in metrics.measure(trace) if m.metric in GOALS}


def farm(asked: Cell, model: str) -> abba.Figures:
    under = LlamaCpp()
    return figures(abba.finished(under.parse(abba.lines_of(under.command(asked, {"model": model})))))


def peer(asked: Cell, model: str) -> abba.Figures:
    """Bare rows; llama-bench's exit status, seen by `lines_of`, stands for the end that rows do not have."""
    tool = str(toolchain.tool("llama-bench"))
    trace = LlamaBench().parse(abba.lines_of([tool, *options(asked.workload.settings, model)]))
    return figures(Trace(events=(*trace.events, {"event": "end", "t": 0, "ok": True})))


def main() -> None:
    parser = abba.arguments("the farm's pp and tg against llama-bench's")
    parser.add_argument("--n-prompt", type=int, default=512)
    parser.add_argument("--n-gen", type=int, default=128)
    parser.add_argument("--n-depth", type=int, default=0)
    given = parser.parse_args()
    sizes = {"n_prompt": given.n_prompt, "n_gen": given.n_gen, "n_depth": given.n_depth}
    asked, model = abba.cell("bench", threads=given.threads, **sizes), str(given.model)
    runs = abba.alternate(lambda: peer(asked, model), lambda: farm(asked, model), given.pairs)
    settings = {**asked.workload.settings, "model": given.model.name, "build": LlamaCpp().build()}
    abba.report("speed", ("llama-bench", "farm"), runs, GOALS, settings, given.json)


if __name__ == "__main__":
    main()
