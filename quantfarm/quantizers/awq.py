"""AWQ (https://arxiv.org/abs/2306.00978) by llm-compressor: 4 bits with zero points (W4A16_ASYM)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantfarm.quantizers import architectures
from quantfarm.quantizers.compressed import LlmCompressor

#: llm-compressor says for each architecture which layers are scaled together; of others it can only guess.
TABLE = "llmcompressor/modifiers/transform/awq/mappings.py", "AWQ_MAPPING_REGISTRY"
STATED = frozenset(
    {
        *("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "Phi3ForCausalLM"),
        *("Gemma2ForCausalLM", "Gemma3ForCausalLM", "GraniteForCausalLM"),
    }
)


class Awq(LlmCompressor):
    name = "awq"
    quants = ("AWQ",)

    def obstacle(self, facts: Mapping[str, Any]) -> str:
        if why := super().obstacle(facts):
            return why
        arch, packages = architectures.named(facts), self.packages()
        known = architectures.keys_of(packages / TABLE[0], TABLE[1]) if packages else STATED
        if arch and known and arch not in known:
            return f"AWQ does not do {arch}: llm-compressor does not say which of its layers are scaled together"
        return ""
