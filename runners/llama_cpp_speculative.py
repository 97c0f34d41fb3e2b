"""Speculative decoding with a draft model, greedy; a part of runners/llama_cpp.py, which gives itself to `kinds`.

A smaller draft proposes tokens one by one, the model verifies them in one batch and takes those that it would have
said itself, and the token after them. What was not taken is rolled back in both KV caches. Every repetition is a pair
with the same generation without a draft, in turns (ABBA), and the two texts are held against each other.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns as now
from typing import Any


@dataclass
class Text:
    """What was generated. `times`: when each token id was on the host (ns); of those verified together the same."""

    ids: array[int]
    times: list[int]
    drafted: int = 0
    accepted: int = 0
    rounds: int = 0

    @property
    def seconds(self) -> float:
        """From the first token to the last: the draft's own reading of the prompt is in it."""
        return (self.times[-1] - self.times[0]) / 1e9


#: Tokens before the texts part whose logits are looked at.
NEAR = 32


class Side:
    """A model's context with one sequence, fed a few tokens at a time."""

    def __init__(self, core: Any, context: Any, prompt: list[Any], most: int) -> None:
        self.core, self.context, self.prompt = core, context, prompt
        self.length = 0  # tokens in the KV cache
        self._batch = core.Batch([0] * most, [0] * most, [True] * most).raw
        self._sampler = core.C.llama_sampler_init_greedy()

    def read_prompt(self) -> int:
        """The first token after it."""
        self.context.clear()
        for batch in self.prompt:
            self.context.decode(batch.raw)
        self.length = sum(batch.raw.n_tokens for batch in self.prompt)
        return self.best(-1)

    def feed(self, ids: Sequence[int], *, every: bool = True) -> None:
        """Decodes tokens; logits of each of them, or of the last one only."""
        batch = self._batch
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.logits[i] = token, self.length + i, every or i == len(ids) - 1
        batch.n_tokens = len(ids)
        self.context.decode(batch)
        self.length += len(ids)

    def best(self, output: int) -> int:
        return self.core.C.llama_sampler_sample(self._sampler, self.context.handle, output)

    def keep(self, length: int) -> None:
        """Rolls the KV cache back to its first tokens."""
        if length == self.length:
            return
        if not self.core.C.llama_memory_seq_rm(self.context.memory, 0, length, -1):
            raise self.core.Failure("run", "this model's memory cannot be rolled back: it cannot verify a draft")
        self.length = length

    def logits(self, output: int) -> Any:
        pointer = self.core.C.llama_get_logits_ith(self.context.handle, output)
        return self.core.np.ctypeslib.as_array(pointer, (self.context.model.n_vocab,)).copy()


def plain(target: Side, n: int) -> Text:
    """n tokens without a draft."""
    text = Text(array("i", [target.read_prompt()]), [now()])
    for _ in range(n - 1):
        target.feed(text.ids[-1:])
        text.ids.append(target.best(-1))
        text.times.append(now())
    return text


def speculative(target: Side, draft: Side, n: int, n_draft: int) -> Text:
    """n tokens, of which a draft proposes at most n_draft in each round."""
    text = Text(array("i", [target.read_prompt()]), [now()])
    draft.read_prompt()
    n_prompt = target.length
    while len(text.ids) < n:
        proposed = propose(draft, text.ids[draft.length - n_prompt :], min(n_draft, n - len(text.ids) - 1))
        target.feed([text.ids[-1], *proposed])
        taken = verified(target, proposed)
        text.ids.extend(taken)
        text.times.extend([now()] * len(taken))
        text.drafted, text.accepted = text.drafted + len(proposed), text.accepted + len(taken) - 1
        text.rounds += 1
        good = n_prompt + len(text.ids) - 1  # the last token was only said, not read
        target.keep(good)
        draft.keep(min(draft.length, good))
    return text


def propose(draft: Side, unread: Sequence[int], n: int) -> list[int]:
    """What the draft would go on with, n tokens."""
    found: list[int] = []
    for _ in range(n):
        draft.feed(unread if not found else found[-1:], every=False)
        found.append(draft.best(-1))
    return found


def verified(target: Side, proposed: Sequence[int]) -> list[int]:
    """Those of the proposed tokens that the model says itself, and its own next one."""
    taken: list[int] = []
    for i in range(len(proposed) + 1):
        taken.append(target.best(i))
        if i < len(proposed) and taken[-1] != proposed[i]:
            break
    return taken


# ------------------------------------------------------------------ where the two texts part


@dataclass
class Parting:
    """The first token that differs, counted from 0, and how far apart the two were in the model's own logits.

    `noise`: by how much logits of this text move at most when it is read in batches of another size.
    """

    token: int
    plain: int
    speculative: int
    margin: float
    noise: float

    @property
    def tie(self) -> bool:
        """Two tokens that are no further apart than rounding can move both."""
        return self.margin <= 2 * self.noise


def parting(target: Side, one: Text, other: Text, size: int) -> Parting | None:
    """None where the texts are the same. Untimed: reads the plain text again, token by token and in batches."""
    at = next((i for i, (a, b) in enumerate(zip(one.ids, other.ids, strict=True)) if a != b), None)
    if at is None:
        return None
    if at == 0:  # after the same prompt in the same batches
        return Parting(0, one.ids[0], other.ids[0], float("inf"), 0.0)
    core, first = target.core, max(1, at + 1 - NEAR)
    core.load_numpy()
    singles, batched = (_rows(target, one.ids[: at + 1], by, first) for by in (1, size))
    noise = max(float(abs(a - b).max()) for a, b in zip(singles, batched, strict=True))
    margin = float(singles[-1][one.ids[at]] - singles[-1][other.ids[at]])
    return Parting(at, one.ids[at], other.ids[at], margin, noise)


def _rows(target: Side, ids: array[int], size: int, first: int) -> list[Any]:
    """The logits that say the tokens from `first` on, the text being read in batches of a size."""
    target.read_prompt()
    found: list[Any] = []
    for start in range(0, len(ids) - 1, size):
        part = ids[start : min(start + size, len(ids) - 1)]
        target.feed(part)
        found += [target.logits(i) for i in range(len(part)) if start + i + 1 >= first]
    return found


# ------------------------------------------------------------------ the kind


def vocabulary(core: Any, model: Any) -> tuple[int, str]:
    """How many tokens it has, and the sha256 of what they are."""
    digest = core.hashlib.sha256()
    for token in range(model.n_vocab):
        digest.update((core.C.llama_vocab_get_text(model.vocab, token) or b"") + b"\0")
    return model.n_vocab, digest.hexdigest()


def load_draft(core: Any, session: Any, context: Any, n_ctx: int) -> Any:
    """The draft's context, on the same threads. Fails where its tokens are not the model's."""
    model = session.model
    model.log.loading, model.log.lines = True, []
    draft = core.Model({**session.request, "model": core.need(session.request, "draft")}, model.log)
    core.on_gpu(draft)
    ours, theirs = vocabulary(core, model), vocabulary(core, draft)
    if ours != theirs:
        what = f"{theirs[0]} tokens, not {ours[0]}" if ours[0] != theirs[0] else "other tokens"
        raise core.Failure("load", f"the draft {draft.path} has another vocabulary than the model: {what}")
    made = core.Context(draft, n_ctx)
    # Both take turns: a second pool's threads would only be in the way of the first one's.
    attach = core.native("llama_attach_threadpool", None, *[ctypes.c_void_p] * 3)
    attach(made.handle, context._pool._pool, None)
    return made


def pair(target: Side, draft: Side, n: int, n_draft: int, draft_first: bool) -> tuple[Text, Text]:
    """(plain, speculative): the same generation without a draft and with one."""
    if draft_first:
        with_draft = speculative(target, draft, n, n_draft)
        return plain(target, n), with_draft
    return plain(target, n), speculative(target, draft, n, n_draft)


def told(core: Any, one: Text, two: Text) -> dict[str, Any]:
    """The figures of a pair; seconds of decoding, from the first token to the last."""
    return {
        "tokens": len(one.ids),
        "drafted": two.drafted,
        "accepted": two.accepted,
        "rounds": two.rounds,
        "seconds": two.seconds,
        "plain_seconds": one.seconds,
        "sha256": core.token_sha256(two.ids),
        "plain_sha256": core.token_sha256(one.ids),
    }


def parted(core: Any, events: Any, repetition: int, apart: Parting) -> None:
    """Says where; fails where rounding does not explain it: then what was verified is not what the model says."""
    figures = {"plain": apart.plain, "speculative": apart.speculative, "margin": apart.margin, "noise": apart.noise}
    if not apart.tie:
        where = f"token {apart.token}: {apart.plain} without the draft, {apart.speculative} with it"
        raise core.Failure(
            "run",
            f"the draft changes the text at {where}, {apart.margin:.3g} logits apart, where reading in batches "
            f"moves logits by {apart.noise:.3g} at most",
        )
    events.emit("parted", repetition=repetition, token=apart.token, **figures)


def kinds(core: Any) -> dict[str, Callable[[Any], None]]:
    """The kind `speculative`. `core`: the module of runners/llama_cpp.py."""

    def answer(session: Any) -> None:
        n_prompt, n_gen, n_draft = (session.number(*one) for one in (("n_prompt",), ("n_gen", 2), ("n_draft",)))
        repetitions, n_batch, events = session.number("repetitions"), int(session.request["n_batch"]), session.events
        context = session.context(n_prompt + n_gen)
        other = load_draft(core, session, context, n_prompt + n_gen)
        ids, facts = core.prompt_ids(session.model, n_prompt)
        events.emit("tokens", **facts)
        events.emit("draft", model=other.model.facts(), settings=other.settings, n_draft=n_draft)
        target, draft = (Side(core, one, core.prompt_batches(ids, n_batch), n_draft + 1) for one in (context, other))
        pair(target, draft, min(4, n_gen), n_draft, draft_first=False)
        events.emit("warmup", phase="speculative")
        for repetition in range(repetitions):
            with core.timed():
                one, two = pair(target, draft, n_gen, n_draft, draft_first=repetition % 2 == 1)
            events.emit("speculative", repetition=repetition, **told(core, one, two))
            if apart := parting(target, one, two, n_draft + 1):
                parted(core, events, repetition, apart)
        context.free()

    return {"speculative": answer}
