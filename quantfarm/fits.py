"""Does it fit? A first estimate of resident memory, from the model's shape, before anything runs.

For the plan, which asks nobody; `quantfarm fits` asks llama.cpp and is exact (quantfarm.memory_model, flows.fits).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantfarm.memory_model import cache
from quantfarm.nouns import Workload

MIB = 2**20
#: Bits per weight of a llama model by quantization, as llama.cpp's quantize tool lists them for a
#: 8 B Llama 3 (tools/quantize/README.md, "bits/weight"); of the formats of a Hugging Face folder, bits and scales at
#: the usual group size. An estimate: small models keep more in larger types. What an artifact has in fact is read
#: from it once it is made.
NOMINAL_BITS: dict[str, float] = {
    "F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.57, "Q5_K_M": 5.70, "Q5_K_S": 5.57,
    "Q5_0": 5.60, "Q5_1": 6.06, "Q4_K_M": 4.89, "Q4_K_S": 4.67, "Q4_0": 4.66, "Q4_1": 5.13, "Q3_K_L": 4.30,
    "Q3_K_M": 4.00, "Q3_K_S": 3.64, "Q2_K": 3.16, "Q2_K_S": 2.97, "IQ4_NL": 4.68, "IQ4_XS": 4.46, "IQ3_M": 3.76,
    "IQ3_S": 3.66, "IQ3_XS": 3.50, "IQ3_XXS": 3.25, "IQ2_M": 2.93, "IQ2_S": 2.74, "IQ2_XS": 2.59, "IQ2_XXS": 2.38,
    "IQ1_M": 2.15, "IQ1_S": 2.00, "MLX-4": 4.5, "MLX-8": 8.5, "AWQ": 4.16, "GPTQ": 4.13, "NF4": 4.13, "RTN": 4.16,
}  # fmt: skip
#: A Python process with the runtime loaded and nothing else, measured at 60–75 MiB here.
PROCESS_MIB = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Resident memory in MiB by part."""

    weights: float
    kv_cache: float
    buffers: float

    @property
    def total(self) -> float:
        return self.weights + self.kv_cache + self.buffers

    def sum(self) -> str:
        """`5.1 GiB (weights 4.2 + KV cache 0.6 + buffers 0.3)`."""
        g = 1024
        return (
            f"{self.total / g:.1f} GiB (weights {self.weights / g:.1f} + KV cache {self.kv_cache / g:.1f}"
            f" + buffers {self.buffers / g:.1f})"
        )


def context_length(workload: Workload) -> int:
    """Tokens of KV cache that a workload needs."""
    s = workload.settings
    keys = ("n_ctx",) if "n_ctx" in s else ("n_prompt", "n_gen", "n_depth")
    return sum(int(s.get(key) or 0) for key in keys)


def estimate(
    n_params: int, quant: str, shape: Mapping[str, Any], workload: Workload, size: int | None = None
) -> Estimate:
    """`shape`: n_layer, n_head_kv, head_dim, n_vocab of the model (0: unknown); `size`: bytes of the file, if made.

    KV cache: layers × KV heads × head size × context × bytes of a key and a value by their types.
    """
    weights = size or n_params * NOMINAL_BITS.get(quant, 16.0) / 8
    s = workload.settings
    per_token = cache.per_token(shape, str(s.get("type_k") or "f16"), str(s.get("type_v") or "f16"))
    models = 1
    if draft := s.get("draft"):  # another quantization of the same model beside it
        weights += n_params * NOMINAL_BITS.get(str(draft).partition("+")[0], 16.0) / 8
        models = 2
    rows = int(s.get("n_ubatch") or 512) if workload.kind == "quality" else 1
    logits = 4 * int(shape.get("n_vocab") or 0) * rows
    return Estimate(
        weights=weights / MIB,
        kv_cache=models * per_token * context_length(workload) / MIB,
        buffers=PROCESS_MIB + logits / MIB,
    )
