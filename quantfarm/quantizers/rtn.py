"""Our own round to nearest: 4 bits, groups with scale and zero point (`runners/quant_linear.py` has the formulas)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from quantfarm.nouns import Scalar
from quantfarm.quantizers import architectures
from quantfarm.quantizers.folders import RUNNERS, FolderQuantizer


class Rtn(FolderQuantizer):
    """Tensor by tensor, so that no more than one of them is in memory. Output layer and embeddings stay."""

    name = "rtn"
    format = "rtn"
    quants = ("RTN",)
    options: Mapping[str, Scalar] = MappingProxyType({"group_size": 128})
    environment = "transformers"
    package = "torch"
    runner = RUNNERS / "quantize_rtn.py"
    values: ClassVar[Mapping[str, Sequence[int]]] = MappingProxyType({"group_size": range(2, 4097)})
    beside: Mapping[str, Path] = MappingProxyType(
        {**FolderQuantizer.beside, "quant_linear": RUNNERS / "quant_linear.py"}
    )

    def tool(self) -> str:
        """`quantfarm-rtn 1f0c9a7e`, by our own code: what is made is new when that is. torch only rounds."""
        code = b"".join(path.read_bytes() for path in (self.runner, self.beside["quant_linear"]))
        return f"quantfarm-rtn {hashlib.sha256(code).hexdigest()[:8]}" if super().tool() else ""

    def obstacle(self, facts: Mapping[str, Any]) -> str:
        return architectures.obstacle(facts, self.packages(), "RTN")
