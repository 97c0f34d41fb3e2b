"""Bits per byte of a whole text under llama.cpp. An extension of `runners/llama_cpp.py`, loaded by it.

lm-eval's `loglikelihood_rolling` (`get_rolling_token_windows` with a context of 1, then `make_disjoint_window`): every
token of the text is scored once, in windows of n_ctx tokens; the first window begins with BOS (EOS where there is
none), each later one with the token before it, the last one with as much of the text before it as fits.
"""

from __future__ import annotations

import ctypes
import hashlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

#: float32 logits of one decode: 128 MiB.
MOST_LOGITS = 2**25


def windows(ids: array[int], prefix: int, n_ctx: int) -> Iterator[tuple[array[int], array[int]]]:
    """(input ids, targets): the targets are what the last positions of the input predict."""
    first = ids[:n_ctx]
    yield array("i", [prefix]) + first[:-1], first
    for start in range(n_ctx, len(ids), n_ctx):
        targets = ids[start : start + n_ctx]
        end = start + len(targets)
        yield ids[end - n_ctx - 1 : end - 1], targets


def read(core: Any, session: Any) -> tuple[array[int], dict[str, Any]]:
    """The text's tokens, without special ones, and what must be known of it."""
    path, model = str(core.need(session.request, "text")), session.model
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise core.Failure("run", f"the text cannot be read: {error}") from error
    if not raw:
        raise core.Failure("run", f"the text {path} is empty")
    room, began = len(raw) + 2, core.now()
    ids = (ctypes.c_int32 * room)()
    n = core.C.llama_tokenize(model.vocab, raw, len(raw), ids, room, False, False)
    if n < 1:
        raise core.Failure("run", f"the text of {len(raw)} bytes cannot be tokenised ({n})")
    found = array("i", ids[:n])
    return found, {
        "text_sha256": hashlib.sha256(raw).hexdigest(),
        "token_sha256": core.token_sha256(found),
        "n_tokens": n,
        "bytes": len(raw),
        "seconds": (core.now() - began) / 1e9,
    }


def prefix_of(core: Any, session: Any) -> int:
    """What lm-eval begins a text with: BOS, else EOS."""
    vocab = session.model.vocab
    bos, eos = core.C.llama_vocab_bos(vocab), core.C.llama_vocab_eos(vocab)
    if bos < 0 and eos < 0:
        raise core.Failure("run", "the vocabulary has neither BOS nor EOS to begin with")
    return bos if bos >= 0 else eos


def window_nll(core: Any, session: Any, context: Any, ids: array[int], targets: array[int]) -> Any:
    """Nats of each target, float64; logits are made where they are read alone, part by part."""
    n_vocab, first = session.model.n_vocab, len(ids) - len(targets)
    most = max(1, min(context.settings["n_batch"], MOST_LOGITS // n_vocab))
    context.clear(True)
    found = []
    for start in range(0, len(ids), most):
        part = ids[start : start + most]
        wanted = [start + i >= first for i in range(len(part))]
        batch = core.Batch(range(start, start + len(part)), [0] * len(part), wanted)
        batch.fill(part)
        context.decode(batch.raw)
        if rows := sum(wanted):
            logits = core.np.ctypeslib.as_array(core.C.llama_get_logits(context.handle), (rows, n_vocab))
            scored = start + len(part) - rows - first
            found += [r.nll() for r, _ in core.blocks(logits, targets[scored : scored + rows])]
        core.C.llama_batch_free(batch.raw)
    return core.np.concatenate(found)


def rolling(core: Any, session: Any) -> None:
    core.load_numpy()
    n_ctx, prefix = session.number("n_ctx", 2), prefix_of(core, session)
    ids, facts = read(core, session)
    n_windows = -(-len(ids) // n_ctx)
    session.events.emit("rolling", **facts, n_ctx=n_ctx, n_windows=n_windows, prefix=prefix)
    context = session.context(n_ctx)
    for index, (inputs, targets) in enumerate(windows(ids, prefix, n_ctx)):
        nll = window_nll(core, session, context, inputs, targets)
        if not core.np.isfinite(nll).all():
            raise core.Failure("run", f"window {index}: the logits are not finite numbers")
        session.events.emit("window", {"nll": nll}, index=index, n=len(targets))
    context.free()


def kinds(core: Any) -> Mapping[str, Callable[[Any], None]]:
    return {"rolling": lambda session: rolling(core, session)}
