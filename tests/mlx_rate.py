"""Our decode rate and mlx_lm's own of one generation; runs in MLX's environment.

    python -P mlx_rate.py RUNNER REQUEST N

The clock is ours: it goes on by some milliseconds whenever a token comes, so that both formulas see the very same
times however busy the machine is. Prints {times, submit, tokens} of the runner's `generate` and {tokens,
generation_tps, prompt_tps} of mlx_lm's `stream_generate`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import random
import sys
from types import SimpleNamespace
from typing import Any


class Clock:
    """Milliseconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.ns, self._random = 10**9, random.Random(3)

    def pass_some(self) -> None:
        self.ns += self._random.randrange(1_000_000, 9_000_000)

    def perf_counter_ns(self) -> int:
        self.ns += 1  # no two looks are at the same time
        return self.ns

    def perf_counter(self) -> float:
        return self.perf_counter_ns() / 1e9


def slowed(clock: Clock, steps: Any) -> Any:
    """A generator of tokens, each of which takes its time."""
    real = steps

    def generate_step(*arguments: Any, **named: Any) -> Any:
        for one in real(*arguments, **named):
            clock.pass_some()
            yield one

    return generate_step


def main() -> None:
    path, request, n = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    spec = importlib.util.spec_from_file_location("runner", path)
    assert spec and spec.loader
    runner: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    modules = runner.shared("")
    runner.session, runner.tokenizer = modules["session"], modules["tokenizer"]
    with modules["session"].model_folder(request["model"]) as folder:
        engine = runner.Mlx(request, folder)
    peer: Any = importlib.import_module("mlx_lm.generate")  # once the runner has chosen the device
    real = peer.generate_step
    ids = engine.text.encode("def f(x):\n    return", bos=True, special=False)

    clock = Clock()
    peer.generate_step, runner.now = slowed(clock, real), clock.perf_counter_ns
    submit, times, tokens = engine.generate(ids, n)

    clock = Clock()
    peer.generate_step, peer.time = slowed(clock, real), SimpleNamespace(perf_counter=clock.perf_counter)

    wrapped = importlib.import_module("mlx_lm.tokenizer_utils").TokenizerWrapper(engine.text._own)
    wrapped._eos_token_ids = set()  # no stop at EOS, as in app mode
    said = list(peer.stream_generate(engine.model, wrapped, ids, max_tokens=n))
    theirs = {"generation_tps": said[-1].generation_tps, "prompt_tps": said[-1].prompt_tps}
    theirs |= {"tokens": [one.token for one in said]}
    ours = {"submit": submit, "times": times, "tokens": tokens, "n_prompt": len(ids)}
    sys.stdout.write(json.dumps({"ours": ours, "theirs": theirs}))


if __name__ == "__main__":
    main()
