"""Speed of a loaded model: llama-bench's protocol, what a person feels, several prompts at once (METHOD §1).

Loaded by path; `session`, `scoring` and `engine` are put here by runners/shared/session.py.
"""

from __future__ import annotations

import hashlib
import random
from time import perf_counter_ns as now
from typing import Any

session: Any = None
scoring: Any = None

PROSE = (
    "The quick brown fox jumps over the lazy dog while five wizards box and the judge vows to quiz them. "
    "On a clear morning the ferry leaves at seven, crosses the bay in forty minutes and is back before noon. "
)


def _random(engine: Any, n: int) -> list[int]:
    """Random tokens; the first of a sequence is BOS where the vocabulary adds it."""
    ids = [random.randrange(engine.n_vocab) for _ in range(n)]  # noqa: S311 - as llama-bench's, no secret
    if engine.text.bos is not None:
        ids[0] = engine.text.bos
    return ids


def _once(engine: Any, phase: str, tokens: int, depth: int) -> float:
    """Seconds of a prompt, or of single tokens, after `depth` tokens that are not timed."""
    cache, ids = engine.cache(), _random(engine, tokens)
    if depth:
        engine.feed(_random(engine, depth), cache)
    with session.timed():
        began = now()
        if phase == "prefill":
            engine.feed(ids, cache)
        else:
            for token in ids:
                engine.step(token, cache)
        return (now() - began) / 1e9


def bench(run: Any) -> None:
    """pp: one prompt; tg: single-token decodes, each waited for. Nothing is written between repetitions."""
    depth, repetitions = run.number("n_depth", 0), run.number("repetitions")
    for phase, name in (("prefill", "n_prompt"), ("decode", "n_gen")):
        if not (tokens := run.number(name, 0)):
            continue
        warm = _once(run.engine, phase, tokens if phase == "prefill" else 1, 0)
        run.events.emit("warmup", phase=phase, seconds=warm, n_ctx=tokens + depth)
        done = [(_once(run.engine, phase, tokens, depth), now()) for _ in range(repetitions)]
        for i, (seconds, until) in enumerate(done):
            figures = {"tokens": tokens, "depth": depth, "seconds": seconds, "until": until}
            run.events.emit(phase, mode="bench", repetition=i, **figures)


def prompt_ids(engine: Any, n: int) -> tuple[list[int], dict[str, Any]]:
    """The first n tokens of a text that is always the same, and what it took to make them."""
    text = PROSE * (1 + n // max(1, len(engine.text.encode(PROSE, bos=False, special=False)) - 1))
    began = now()
    ids = engine.text.encode(text, bos=True, special=False)
    seconds = (now() - began) / 1e9
    if len(ids) < n:
        raise session.Failure("run", f"the prompt has {len(ids)} tokens, {n} were asked for")
    facts = {"text_sha256": hashlib.sha256(text.encode()).hexdigest(), "token_sha256": scoring.token_sha256(ids[:n])}
    return ids[:n], facts | {"n_tokens": n, "seconds": seconds, "add_bos": engine.text.bos is not None}


def app(run: Any) -> None:
    n_prompt, n_gen, repetitions = run.number("n_prompt"), run.number("n_gen"), run.number("repetitions")
    ids, facts = prompt_ids(run.engine, n_prompt)
    run.events.emit("tokens", **facts)
    run.engine.generate(ids, min(2, n_gen))
    run.events.emit("warmup", phase="app")
    done = [run.engine.generate(ids, n_gen) for _ in range(repetitions)]
    for i, (submit, times, _) in enumerate(done):
        _told(run, i, n_prompt, submit, times)


# ------------------------------------------------------------------ batch: several prompts at once


def batch(run: Any) -> None:
    """`batch` different prompts of random tokens, decoded greedily together. An event a repetition: `tokens` are those
    of all prompts after the first of each, `seconds` from the first to the last."""
    size, n_gen = run.number("batch"), run.number("n_gen", 2)
    n_prompt, repetitions = run.number("n_prompt"), run.number("repetitions")
    prompts = [_random(run.engine, n_prompt) for _ in range(size)]
    run.engine.generate_many(prompts, 2)
    run.events.emit("warmup", phase="batch")
    done = [run.engine.generate_many(prompts, n_gen) for _ in range(repetitions)]
    for i, (submit, times) in enumerate(done):
        figures = {"tokens": size * (n_gen - 1), "seconds": (times[-1] - times[0]) / 1e9, "until": times[-1]}
        prefill = (times[0] - submit) / 1e9
        run.events.emit("batch", repetition=i, batch=size, depth=n_prompt, prefill_seconds=prefill, **figures)


# ------------------------------------------------------------------ sustained: back to back until it is steady


def sustained(run: Any) -> None:
    """As app mode; the rule that ends it is of the file that `extension` names."""
    rule = session.load_by_path("sustained_rule", str(session.need(run.request, "extension")))
    n_prompt, n_gen = run.number("n_prompt"), run.number("n_gen", 2)
    counts = {name: run.number(name) for name in ("runs", "more", "most")}
    ids, facts = prompt_ids(run.engine, n_prompt)
    run.events.emit("tokens", **facts)
    run.engine.generate(ids, 2)
    run.events.emit("warmup", phase="app")
    run.events.emit("sustained", n_prompt=n_prompt, n_gen=n_gen, **counts)

    def once(i: int) -> float:
        submit, times, _ = run.engine.generate(ids, n_gen)
        _told(run, i, n_prompt, submit, times)
        run.events.emit("progress", done=i + 1, of=rule.expected(i, **counts), what="runs")
        return rule.rate(times)

    rule.until_steady(once, **counts)


def _told(run: Any, repetition: int, n_prompt: int, submit: int, times: list[int]) -> None:
    seconds = (times[0] - submit) / 1e9
    run.events.emit("prefill", mode="app", repetition=repetition, tokens=n_prompt, depth=0, seconds=seconds)
    run.events.emit("decode", mode="app", repetition=repetition, submit=submit, times=times)
