"""Quantize a Hugging Face folder for MLX through mlx-lm: events as JSON lines on stdout.

    python -P quantize_mlx.py --request '{"source": …, "out": …, "quant": "MLX-4", "options": {"group_size": 64}}'

On a Mac with Metal, on Linux with MLX's CPU back end; both write the same format.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "mlx[cpu]>=0.32; sys_platform == 'linux'",
#     "mlx>=0.32; sys_platform == 'darwin'",
#     "mlx-lm>=0.32",
#     "numpy>=2.0",
# ]
# ///
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any


def load(key: str, name: str) -> Any:
    """A file of ours: where the request says that it lies, else beside this one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--request", type=json.loads, default={})
    path = parser.parse_known_args()[0].request.get(key) or str(Path(__file__).with_name(f"{name}.py"))
    spec = importlib.util.spec_from_loader(name, SourceFileLoader(name, path))
    assert spec and spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    libraries, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the folder that it lies in is not ours
    spec.loader.exec_module(module)
    sys.dont_write_bytecode = libraries
    return module


folder = load("shared", "quantize_folder")
PACKAGES = ("mlx", "mlx-lm")
BITS = {"MLX-4": 4, "MLX-8": 8}
#: Those that MLX has kernels for.
GROUPS = (32, 64, 128)


def kept(job: Any, group_size: int) -> tuple[str, ...]:
    """The weights that should have been quantized and were not: MLX passes over rows that are no multiple of a group.

    In MLX's own names, where a published weight keeps its name (it does in most architectures).
    """
    made = {t.name for path in job.made.glob("*.safetensors") for t in folder.tensors(path)}
    weights = [tensor for tensors in job.weights.values() for tensor in tensors]
    wide = [t for t in weights if len(t.shape) == 2 and t.name.endswith(".weight") and t.shape[1] % group_size]
    return tuple(
        f"{t.name}: {job.quant} wanted, {t.dtype} kept (rows of {t.shape[1]} are no multiple of {group_size})"
        for t in wide
        if t.name in made and t.name.removesuffix("weight") + "scales" not in made
    )


def make(job: Any) -> Any:
    if job.quant not in BITS:
        raise folder.Failure("start", f"unknown quant {job.quant}: known are {', '.join(BITS)}")
    group_size = int(job.option("group_size", 64))
    if group_size not in GROUPS:
        raise folder.Failure("start", f"MLX has no groups of {group_size}: it has {', '.join(map(str, GROUPS))}")
    import mlx_lm

    job.progress(0, 1)
    bits = BITS[job.quant]
    mlx_lm.convert(
        str(job.source),
        mlx_path=str(job.made),
        quantize=True,
        q_group_size=group_size,
        q_bits=bits,
        trust_remote_code=False,
    )
    job.progress(1, 1)
    (job.made / "README.md").unlink(missing_ok=True)  # a model card for the hub
    label = f"MLX-{bits} g{group_size}"
    return folder.Made(label, (".scales", ".biases"), kept(job, group_size), {"group_size": group_size})


if __name__ == "__main__":
    sys.exit(folder.main("quantize_mlx", PACKAGES, make))
