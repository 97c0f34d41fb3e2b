"""The KV cache by type and context, from a model's shape: where llama.cpp cannot be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantfarm.memory_model.contexts import Context
from quantfarm.memory_model.parts import MIB

#: Bytes of a value by type of cache: ggml's blocks of 32 values with their scales.
BYTES = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32,
    "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip


def per_token(shape: Mapping[str, Any], type_k: str, type_v: str) -> float:
    """Bytes: layers × KV heads × head size × (K + V). Grouped-query attention has fewer KV heads than heads."""
    values = int(shape.get("n_layer") or 0) * int(shape.get("n_head_kv") or 0) * int(shape.get("head_dim") or 0)
    return values * (BYTES.get(type_k, 2.0) + BYTES.get(type_v, 2.0))


def mib(shape: Mapping[str, Any], asked: Context) -> float:
    """Every layer over the whole context: a sliding window, which the shape does not tell, would need less."""
    return per_token(shape, asked.type_k, asked.type_v) * asked.cells / MIB
