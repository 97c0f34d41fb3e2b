"""MLX through mlx-lm, on Metal or a CPU, measured by our own runner with the sampler beside it."""

from __future__ import annotations

from quantfarm.nouns import Cell
from quantfarm.runtimes.folder import RUNNERS, FolderRuntime


class Mlx(FolderRuntime):
    name = "mlx"
    formats = frozenset({"mlx", "hf"})
    workloads = frozenset(
        {"bench", "app", "sustained", "quality", "rolling", "logits", "tokens", "tasks", "answer", "serve"}
    )
    environment = "mlx"
    runner = RUNNERS / "mlx.py"
    package = "mlx-lm"
    gpu = "gpu"

    def compute(self, cell: Cell, device: str) -> str:
        """On a CPU quantized layers in float32, for speed too: MLX has them in half precision there, converted number
        by number and 25 to 200 times slower, which nobody would use."""
        if device == "cpu" and cell.variant.format == "mlx":
            return "float32"
        return super().compute(cell, device)
