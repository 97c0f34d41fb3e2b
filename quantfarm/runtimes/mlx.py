"""MLX through mlx-lm, on Metal or a CPU, measured by our own runner with the sampler beside it."""

from __future__ import annotations

from quantfarm.runtimes.folder import RUNNERS, FolderRuntime


class Mlx(FolderRuntime):
    name = "mlx"
    formats = frozenset({"mlx", "hf"})
    workloads = frozenset({"bench", "app", "sustained", "quality", "logits", "tokens", "tasks"})
    environment = "mlx"
    runner = RUNNERS / "mlx.py"
    package = "mlx-lm"
    gpu = "gpu"
