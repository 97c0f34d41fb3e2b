"""NF4 (https://arxiv.org/abs/2305.14314) by bitsandbytes: 4 bits of a normal distribution's quantiles, blocks of 64."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from quantfarm.nouns import Scalar
from quantfarm.quantizers import architectures
from quantfarm.quantizers.folders import RUNNERS, FolderQuantizer


class Nf4(FolderQuantizer):
    """`double_quant`: the blocks' scales in 8 bits. Output layer and embeddings stay as they are."""

    name = "nf4"
    format = "bnb"
    quants = ("NF4",)
    options: Mapping[str, Scalar] = MappingProxyType({"double_quant": False})
    environment = "transformers"
    package = "bitsandbytes"
    runner = RUNNERS / "quantize_nf4.py"

    def obstacle(self, facts: Mapping[str, Any]) -> str:
        return architectures.obstacle(facts, self.packages(), "NF4", conv1d=True)
