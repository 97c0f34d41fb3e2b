"""What one micro-batch needs besides weights and cache: activations, the attention mask, scratch.

llama.cpp reserves its compute buffer for the worst case, in which every token of a micro-batch gives logits; pages
that are never written to never become resident. So where logits of one token are wanted, what is resident is about
the activations of a layer, and at the most what llama.cpp reserved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantfarm.memory_model.contexts import Use
from quantfarm.memory_model.parts import MIB

F32, F16 = 4, 2
#: Bytes of an activation in the form that a weight's type is multiplied in (ggml-cpu, vec_dot_type): F32 as it is,
#: F16 halves, Q8_0 blocks of 34 bytes for 32, Q8_K blocks of 292 bytes for 256.
SCRATCH = {"F32": 0.0, "F16": 2.0, "BF16": 2.0, "Q8_0": 34 / 32, "Q5_0": 34 / 32, "Q5_1": 36 / 32, "Q4_0": 34 / 32,
           "Q4_1": 36 / 32, "IQ4_NL": 34 / 32}  # fmt: skip
SCRATCH_K = 292 / 256
#: Vectors of the width of the model that are alive at the same time as the three of the feed-forward part.
WIDTHS = 4
#: And beside the scores of attention, where they are written out (flash attention off).
WIDTHS_ATTENTION = 6


def activations(use: Use, shape: Mapping[str, Any]) -> float:
    """MiB. `shape`: n_embd, n_ff, n_head (0 where not known)."""
    width, wide, heads = (int(shape.get(name) or 0) for name in ("n_embd", "n_ff", "n_head"))
    used = max(int(shape.get("n_expert_used") or 1), 1)
    feed_forward = use.tokens * F32 * (3 * wide * used + WIDTHS * width)
    mask = use.tokens * use.context.cells * F16
    if use.context.flash_attn == "on":
        return (feed_forward + mask) / MIB
    scores = use.tokens * F32 * (heads * use.context.cells + WIDTHS_ATTENTION * width)
    return (max(feed_forward, scores) + 2 * mask) / MIB


def logits(use: Use, shape: Mapping[str, Any]) -> float:
    """MiB of logits in the compute buffer: of one token, or of all."""
    return (use.tokens if use.all_outputs else 1) * F32 * int(shape.get("n_vocab") or 0) / MIB


def scratch(use: Use, shape: Mapping[str, Any], kind: str) -> float:
    """MiB that the largest matrix multiplication takes for its right side in the form of its left; `kind`: the usual
    type of weights. With scores that are written out (flash attention off) it may be those, for values in F16."""
    wide = max(int(shape.get("n_ff") or 0), int(shape.get("n_embd") or 0))
    scores = int(shape.get("n_head") or 0) * use.context.cells * F16 if use.context.flash_attn == "off" else 0
    return use.tokens * max(wide * SCRATCH.get(kind, SCRATCH_K), scores) / MIB


def resident(use: Use, shape: Mapping[str, Any], kind: str, reserved: float | None) -> float:
    """MiB that become resident. `reserved`: llama.cpp's own compute buffer for this context, where it was asked."""
    needed = activations(use, shape) + logits(use, shape)
    known = bool(shape.get("n_ff")) and not shape.get("n_expert")
    if reserved is not None:
        needed = min(needed, reserved) if known and not use.all_outputs else reserved
    return needed + scratch(use, shape, kind)
