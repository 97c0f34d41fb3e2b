"""Bytes of a Hugging Face model's weights by format, from its tensors' shapes and the format's scales."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quantfarm.nouns import Scalar

#: Bytes of a number by safetensors' name of its type.
DTYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
#: Parts of a name that say: not a layer's matrix. Formats for transformers leave these as they are.
KEPT = ("embed", "lm_head", "wte", "wpe", "output.weight")


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of a safetensors file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Bits of a weight, and bits for each group of `group` weights of a row (scale and zero point or bias).

    `everything`: embeddings and the output matrix too.
    """

    bits: float
    per_group: float
    group: int
    everything: bool = False

    def of(self, options: Mapping[str, Scalar]) -> Rule:
        """With a group size of its own; with `double_quant` scales are of 8 bits, and 256 of them share one of 32."""
        group = int(options.get("group_size") or self.group)
        per_group = 8 + 32 / 256 if options.get("double_quant") else self.per_group
        return Rule(bits=self.bits, per_group=per_group, group=group, everything=self.everything)


#: MLX: scale and bias in 16 bits. AWQ: scale in 16 bits, zero point in 4; GPTQ is symmetric. NF4: a scale in
#: 32 bits. RTN: as AWQ.
RULES: dict[str, Rule] = {
    "MLX-4": Rule(bits=4, per_group=32, group=64, everything=True),
    "MLX-8": Rule(bits=8, per_group=32, group=64, everything=True),
    "AWQ": Rule(bits=4, per_group=20, group=128),
    "GPTQ": Rule(bits=4, per_group=16, group=128),
    "NF4": Rule(bits=4, per_group=32, group=64),
    "RTN": Rule(bits=4, per_group=20, group=128),
}


def bytes_of(tensors: Iterable[Stored], quant: str, options: Mapping[str, Scalar]) -> int:
    """Bytes of all tensors; as they are for what has no rule (`HF`)."""
    rule = RULES[quant].of(options) if quant in RULES else None
    return sum(_bytes(one, rule) for one in tensors)


def _bytes(one: Stored, rule: Rule | None) -> int:
    if rule is None or len(one.shape) != 2 or not one.name.endswith("weight"):
        return one.bytes
    if not rule.everything and any(part in one.name for part in KEPT):
        return one.bytes
    rows, width = one.shape
    groups = -(-width // rule.group)
    return int(rows * (width * rule.bits + groups * rule.per_group) / 8)
