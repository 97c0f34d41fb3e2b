"""Hugging Face transformers on PyTorch, on CUDA or a CPU, measured by our own runner with the sampler beside it."""

from __future__ import annotations

from quantfarm.runtimes.folder import RUNNERS, FolderRuntime


class Transformers(FolderRuntime):
    name = "transformers"
    formats = frozenset({"hf", "compressed-tensors", "bnb", "rtn"})
    workloads = frozenset(
        {"bench", "app", "sustained", "batch", "quality", "rolling", "logits", "tokens", "tasks", "answer", "serve"}
    )
    environment = "transformers"
    runner = RUNNERS / "transformers_hf.py"
    package = "transformers"
    gpu = "cuda"
