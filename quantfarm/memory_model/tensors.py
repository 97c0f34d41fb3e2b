"""The tensors of a quantized model, as llama.cpp's quantizer would write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import prod

#: llama.cpp rearranges rows in groups of eight.
ROWS = 8
EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"


@dataclass(frozen=True, slots=True)
class Tensor:
    """`shape` in ggml's order: the length of a row first."""

    name: str
    shape: tuple[int, ...]
    type: str
    bytes: int

    @property
    def weights(self) -> int:
        return prod(self.shape)

    @property
    def is_matrix(self) -> bool:
        return len(self.shape) > 1 and self.shape[1] > 1


def types(tensors: Sequence[Tensor]) -> dict[str, int]:
    """Tensor type -> number of tensors."""
    return dict(Counter(tensor.type for tensor in tensors))


def bits_per_weight(tensors: Sequence[Tensor]) -> float:
    return 8 * sum(tensor.bytes for tensor in tensors) / max(1, sum(tensor.weights for tensor in tensors))


def copied_bytes(tensors: Sequence[Tensor], rearranged: Collection[str]) -> int:
    """Bytes of the second copy of weights, for `rearranged` types (those of the machine's llama.cpp).

    Only matrices that are multiplied with: of the embeddings rows are looked up; where they are the output
    matrix too (no `output.weight`), llama.cpp makes that one a copy of its own.
    """
    tied = not any(tensor.name == OUTPUT for tensor in tensors)
    return sum(
        tensor.bytes
        for tensor in tensors
        if tensor.type in rearranged
        and tensor.is_matrix
        and tensor.shape[1] % ROWS == 0
        and (tensor.name != EMBEDDING or tied)
    )
