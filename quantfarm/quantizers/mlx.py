"""MLX's own quantizations (4 and 8 bits, groups with scale and bias), made through mlx-lm: also on Linux, by CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from quantfarm.nouns import Scalar
from quantfarm.quantizers import architectures
from quantfarm.quantizers.folders import RUNNERS, FolderQuantizer


class Mlx(FolderQuantizer):
    """Embeddings and output layer are quantized too: that is mlx-lm's way."""

    name = "mlx"
    format = "mlx"
    quants = ("MLX-4", "MLX-8")
    options: Mapping[str, Scalar] = MappingProxyType({"group_size": 64})
    environment = "mlx"
    package = "mlx-lm"
    runner = RUNNERS / "quantize_mlx.py"
    values: ClassVar[Mapping[str, Sequence[int]]] = MappingProxyType({"group_size": (32, 64, 128)})

    def obstacle(self, facts: Mapping[str, Any]) -> str:
        arch, packages = architectures.named(facts), self.packages()
        known, kinds = architectures.mlx_models(packages), architectures.causal_lms(packages)
        if "architecture" in facts and not arch:
            return "mlx-lm needs to know the architecture, and the model's config.json names none"
        if arch and (arch not in kinds or (known and kinds[arch] not in known)):
            return f"mlx-lm has no code for {arch}"
        return ""
