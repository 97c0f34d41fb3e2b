"""What AWQ and GPTQ share: llm-compressor makes both, from a text that they learn from, as compressed-tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from quantfarm.nouns import Scalar
from quantfarm.quantizers import architectures
from quantfarm.quantizers.folders import RUNNERS, FolderQuantizer


class LlmCompressor(FolderQuantizer):
    """`samples` passages of `length` tokens are learnt from. Output layer and embeddings stay as they are.

    Without a `group_size` the widest of 128, 64 and 32 is taken that every row of the model is a multiple of.
    """

    format = "compressed-tensors"
    options: Mapping[str, Scalar] = MappingProxyType({"group_size": 128, "samples": 128, "length": 512})
    environment = "llm-compressor"
    package = "llmcompressor"
    runner = RUNNERS / "quantize_llmc.py"
    values: ClassVar[Mapping[str, Sequence[int]]] = MappingProxyType(
        {"group_size": range(8, 4097), "samples": range(1, 100_001), "length": range(16, 131_073)}
    )
    learns = True

    def tokens(self, options: Mapping[str, Scalar], shape: Mapping[str, Any]) -> int:
        """No passage is longer than what the model was trained on."""
        samples, length = (int(str(options.get(name, self.options[name]))) for name in ("samples", "length"))
        return samples * min(length, int(shape.get("n_ctx_train") or length))

    def obstacle(self, facts: Mapping[str, Any]) -> str:
        return architectures.obstacle(facts, self.packages(), self.name.upper())
