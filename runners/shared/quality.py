"""Perplexity, KL divergence and base logits of a loaded model, with llama-perplexity's arithmetic (METHOD §2).

Loaded by path; `session` and `scoring` are put here by runners/shared/session.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter_ns as now
from typing import Any

session: Any = None
scoring: Any = None


def _read(run: Any) -> tuple[bytes, str]:
    """The text that was asked for."""
    path = str(session.need(run.request, "text"))
    try:
        raw = Path(path).read_bytes()
        words = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise session.Failure("run", f"the text cannot be read: {error}") from error
    if (asked := run.request.get("text_sha256")) and asked != hashlib.sha256(raw).hexdigest():
        raise session.Failure("run", f"{path} is not the text that was asked for")
    return raw, words


def read_text(run: Any) -> Any:
    """The text in chunks, once its `tokens` event is written."""
    engine = run.engine
    if engine.text.adds_eos:
        raise session.Failure("run", "the tokenizer adds EOS: llama-perplexity's perplexity is not defined for it")
    raw, _ = _read(run)
    words = scoring.without_newline(raw).decode()
    began = now()
    ids = engine.text.encode(words, bos=True, special=False)
    seconds = (now() - began) / 1e9
    text = scoring.Text(raw, ids, run.number("n_ctx", 4), run.request.get("n_chunks"), engine.text.bos)
    run.events.emit("tokens", **text.facts(engine.text.pieces()), seconds=seconds)
    return text


def chunk_logits(engine: Any, text: Any) -> Iterator[tuple[int, Any]]:
    """(chunk, logits of shape (rows, n_vocab)): `step_size` tokens at a time, of several chunks or of a part of one."""
    together = max(1, engine.step_size // text.n_ctx)
    for start in range(0, text.n_chunks, together):
        chunks = range(start, min(start + together, text.n_chunks))
        inputs = [text.inputs(chunk)[:-1].tolist() for chunk in chunks]  # nobody asks what follows the last token
        if engine.step_size >= text.n_ctx:
            logits = engine.rows(inputs, None, text.first)
        else:
            logits = _in_parts(engine, inputs[0], text.first)[None]
        yield from zip(chunks, logits, strict=True)


def _in_parts(engine: Any, ids: Sequence[int], first: int) -> Any:
    cache, parts = engine.cache(), []
    for start in range(0, len(ids), engine.step_size):
        part = ids[start : start + engine.step_size]
        if start + len(part) <= first:
            engine.feed(part, cache)
        else:
            parts.append(engine.rows([part], cache, max(0, first - start))[0])
    return scoring.np.concatenate(parts)


def evaluate(run: Any, text: Any, base: Any, write: Any) -> None:
    for chunk, logits in chunk_logits(run.engine, text):
        try:
            found = scoring.score(logits, text.targets(chunk), base.next() if base else None, write)
        except scoring.Wrong as error:
            raise scoring.Wrong(f"chunk {chunk}: {error}") from error
        same = {"same_top": int(found.pop("same_top").sum())} if base else {}
        run.events.emit("chunk", found, index=chunk, n=text.rows, **same)


def quality(run: Any) -> None:
    text, path = read_text(run), run.request.get("base_logits")
    evaluate(run, text, scoring.Base(path, text, run.engine.n_vocab) if path else None, None)


def logits_file(run: Any) -> None:
    text, out = read_text(run), Path(session.need(run.request, "out"))
    with scoring.written_whole(out) as file:
        file.write(scoring.head(text, run.engine.n_vocab))
        evaluate(run, text, None, file)
    run.events.emit("result", out=str(out), size=out.stat().st_size)


def count_tokens(run: Any) -> None:
    read_text(run)


# ------------------------------------------------------------------ rolling: every token of the text once


def windows(ids: Sequence[int], prefix: int, n_ctx: int) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """(input ids, targets) as lm-eval's `loglikelihood_rolling`: the targets are what the last positions of the input
    predict. The first window begins with the prefix, a last one that is shorter has the text before it."""
    yield [prefix, *ids[: n_ctx - 1]], ids[:n_ctx]
    for start in range(n_ctx, len(ids), n_ctx):
        targets = ids[start : start + n_ctx]
        end = start + len(targets)
        yield ids[end - n_ctx - 1 : end - 1], targets


def rolling(run: Any) -> None:
    engine, n_ctx, np = run.engine, run.number("n_ctx", 2), scoring.np
    if engine.text.prefix is None:
        raise session.Failure("run", "the vocabulary has neither BOS nor EOS to begin with")
    raw, words = _read(run)
    began = now()
    ids = engine.text.encode(words, bos=False, special=False)
    if not ids:
        raise session.Failure("run", "the text is empty")
    facts = {"text_sha256": hashlib.sha256(raw).hexdigest(), "token_sha256": scoring.token_sha256(ids)}
    facts |= {"n_tokens": len(ids), "bytes": len(raw), "seconds": (now() - began) / 1e9, "n_ctx": n_ctx}
    n_windows = -(-len(ids) // n_ctx)
    run.events.emit("rolling", **facts, n_windows=n_windows, prefix=engine.text.prefix)
    for index, (inputs, targets) in enumerate(windows(ids, engine.text.prefix, n_ctx)):
        logits = _in_parts(engine, inputs, len(inputs) - len(targets))
        nll = scoring.score(logits, np.asarray(targets, dtype=np.int32))["nll"]
        run.events.emit("window", {"nll": nll}, index=index, n=len(targets))
