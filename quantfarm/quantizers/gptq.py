"""GPTQ (https://arxiv.org/abs/2210.17323) by llm-compressor: 4 bits, no zero point (W4A16)."""

from __future__ import annotations

from quantfarm.quantizers.compressed import LlmCompressor


class Gptq(LlmCompressor):
    name = "gptq"
    quants = ("GPTQ",)
