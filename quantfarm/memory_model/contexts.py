"""The contexts that a workload makes, and how much of each it uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantfarm import suites
from quantfarm.nouns import Workload

#: llama.cpp rounds a context up to whole blocks of cells.
BLOCK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A context as it is asked for."""

    n_ctx: int
    n_batch: int
    n_ubatch: int
    flash_attn: str
    type_k: str
    type_v: str

    @property
    def cells(self) -> int:
        return -(-self.n_ctx // BLOCK) * BLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What is done in a context: `tokens` computed at once at the most; `saved`: tokens whose cache is kept apart;
    `outputs`: of how many of the tokens logits are wanted (one, or all of them)."""

    context: Context
    tokens: int
    saved: int = 0
    all_outputs: bool = False


def context(n_ctx: int, settings: Mapping[str, Any]) -> Context:
    """Of these parameters; what they leave out is as in every speed workload."""
    s = {**suites.CONTEXT, **{key: value for key, value in settings.items() if value is not None}}
    return Context(
        n_ctx=n_ctx,
        n_batch=int(s["n_batch"] or 0),
        n_ubatch=int(s["n_ubatch"] or 0),
        flash_attn=str(s["flash_attn"]),
        type_k=str(s["type_k"]),
        type_v=str(s["type_v"]),
    )


def full(n_ctx: int, settings: Mapping[str, Any]) -> Use:
    """A context that is filled to its end, as a person who chats fills it."""
    asked = context(n_ctx, settings)
    return Use(context=asked, tokens=min(n_ctx, asked.n_batch, asked.n_ubatch))


def uses(workload: Workload) -> list[Use]:
    """The contexts that a runner makes for a workload, one after the other; none for kinds that are not known here.

    bench: one for the prompt, one for generating, each deep enough for `n_depth` too, whose cache is saved once.
    """
    s = workload.settings
    prompt, gen, depth = (int(s.get(name) or 0) for name in ("n_prompt", "n_gen", "n_depth"))
    if workload.kind == "bench":
        phases = [(prompt, max(prompt, depth))] * bool(prompt) + [(gen, max(1, depth))] * bool(gen)
        return [_use(length + depth, tokens, depth, s) for length, tokens in phases]
    if workload.kind in ("app", "sustained"):
        return [_use(prompt + gen, prompt, 0, s)]
    return []


def _use(n_ctx: int, tokens: int, saved: int, settings: Mapping[str, Any]) -> Use:
    asked = context(n_ctx, settings)
    return Use(context=asked, tokens=max(1, min(tokens, asked.n_batch, asked.n_ubatch)), saved=saved)
