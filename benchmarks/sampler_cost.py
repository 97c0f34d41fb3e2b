"""What the sampler beside a run costs it: speed with it ÷ without it; goal: slowed by less than 1 % for sure.

python benchmarks/sampler_cost.py --pairs 10 --json docs/benchmarks/sampler_cost.json
"""

from __future__ import annotations

import abba

from quantfarm import metrics
from quantfarm.nouns import Cell
from quantfarm.runtimes.llama_cpp import LlamaCpp

GOALS = {"bench_tg": abba.surely_above(0.99), "bench_pp": abba.surely_above(0.99)}


def figures(asked: Cell, model: str, sampler: bool) -> abba.Figures:
    under = LlamaCpp()
    command = list(under.command(asked, {"model": model}))
    if not sampler:
        command = command[command.index("--") + 1 :]
    trace = abba.finished(under.parse(abba.lines_of(command)))
    assert bool(trace.of("sample")) == sampler
    return {m.metric: m.value for m in metrics.measure(trace) if m.metric in GOALS}


def main() -> None:
    parser = abba.arguments("a run with the sampler beside it against one without")
    parser.add_argument("--n-prompt", type=int, default=512)
    parser.add_argument("--n-gen", type=int, default=512)
    parser.add_argument("--repetitions", type=int, default=10)
    given = parser.parse_args()
    sizes = {"n_prompt": given.n_prompt, "n_gen": given.n_gen, "repetitions": given.repetitions}
    asked, model = abba.cell("bench", threads=given.threads, **sizes), str(given.model)
    off, on = (lambda: figures(asked, model, False)), (lambda: figures(asked, model, True))
    runs = abba.alternate(off, on, given.pairs)
    settings = {**asked.workload.settings, "model": given.model.name, "build": LlamaCpp().build()}
    abba.report("sampler", ("without", "with"), runs, GOALS, settings, given.json)


if __name__ == "__main__":
    main()
