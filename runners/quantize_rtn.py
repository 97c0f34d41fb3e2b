"""Quantize a Hugging Face folder to 4 bits by rounding to nearest: events as JSON lines on stdout.

    python -P quantize_rtn.py --request '{"source": …, "out": …, "quant": "RTN", "options": {"group_size": 128}}'

Tensor by tensor from file to file, so that no more than one of them is in memory. `quant_linear.py` says what is
made of a weight, and reads it again.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch==2.13.0",
#     "transformers>=5.0",
#     "accelerate>=1.10",
#     "compressed-tensors>=0.12",
#     "bitsandbytes>=0.49",
#     "safetensors>=0.6",
#     "numpy>=2.0",
# ]
# ///
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import struct
import sys
from collections.abc import Collection, Iterator, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import IO, Any


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
PACKAGES = ("torch", "transformers", "safetensors")
#: What is copied, is copied in pieces of so many bytes.
PIECE = 1 << 23
#: Part of a quantized tensor -> safetensors' name of its type.
TYPES = {"weight_packed": "U8", "weight_scale": "F16", "weight_zero": "U8"}
GROUPS = range(2, 4097)


class Errors:
    """Relative L2 errors: of each layer, and of all weights together."""

    def __init__(self) -> None:
        self.off = self.of = 0.0
        self.layers: dict[str, float] = {}

    def add(self, layer: str, off: float, of: float) -> None:
        self.off, self.of = self.off + off, self.of + of
        self.layers[layer] = math.sqrt(off / of) if of else 0.0

    @property
    def overall(self) -> float:
        return math.sqrt(self.off / self.of) if self.of else 0.0


def layers_of(source: Path, quant_linear: Any) -> tuple[set[str], str]:
    """The names of the model's linear layers but the output layer, and the prefix that a checkpoint may leave out."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return {name for name, _ in quant_linear.linears(model)}, f"{model.base_model_prefix}."


def layer_of(tensor: Any, layers: Collection[str], prefix: str) -> str:
    """The linear layer whose weight a tensor of the checkpoint is; empty for any other tensor."""
    name = tensor.name.removesuffix(".weight")
    if name == tensor.name or len(tensor.shape) != 2:
        return ""
    return next((one for one in (name, prefix + name, name.removeprefix(prefix)) if one in layers), "")


def planned(tensor: Any, layer: str, group_size: int, quant_linear: Any) -> list[tuple[str, str, list[int]]]:
    """Name, type and shape of what a tensor becomes."""
    if not layer:
        return [(tensor.name, tensor.dtype, list(tensor.shape))]
    parts = quant_linear.shapes(*tensor.shape, group_size)
    base = tensor.name.removesuffix("weight")
    return [(base + part, kind, list(shape.shape)) for (part, kind), shape in zip(TYPES.items(), parts, strict=True)]


SIZES = {"U8": 1, "I8": 1, "BOOL": 1, "F16": 2, "BF16": 2, "U16": 2, "I16": 2, "F32": 4, "U32": 4, "I32": 4,
         "F64": 8, "U64": 8, "I64": 8, "F8_E4M3": 1, "F8_E5M2": 1}  # fmt: skip


def header(tensors: list[tuple[str, str, list[int]]]) -> bytes:
    """A safetensors header, padded so that the data begins at a multiple of 8 bytes."""
    said: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, dtype, shape in tensors:
        end = at + math.prod(shape) * SIZES[dtype]
        said[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(said, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def pieces(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end:
            piece = file.read(min(PIECE, end - start))
            start += len(piece)
            yield piece


class Making:
    def __init__(self, job: Any) -> None:
        self.job = job
        self.quant_linear = load("quant_linear", "quant_linear")
        self.group_size = int(job.option("group_size", self.quant_linear.GROUP_SIZE))
        if self.group_size not in GROUPS:
            raise folder.Failure("start", f"group_size {self.group_size} is not in {GROUPS.start} … {GROUPS.stop - 1}")
        self.layers, self.prefix = layers_of(job.source, self.quant_linear)
        self.errors = Errors()
        self.short: dict[str, int] = {}  # layer -> weights of its last group
        self.done, self.of = 0, sum(len(tensors) for tensors in job.weights.values())

    def make(self) -> None:
        """Raises Failure, OSError."""
        found = {layer_of(t, self.layers, self.prefix) for tensors in self.job.weights.values() for t in tensors}
        if not found - {""}:
            raise folder.Failure("load", "none of its weights is that of a linear layer: there is nothing to quantize")
        self.kept = sorted(self.layers - found)
        self.job.made.mkdir()
        where: dict[str, str] = {}
        for name, tensors in self.job.weights.items():
            where |= self.file(name, tensors)
        self.config(where)

    def file(self, name: str, tensors: Any) -> dict[str, str]:
        """One file of the source as one of the new; tensor -> file."""
        plans = [planned(t, layer_of(t, self.layers, self.prefix), self.group_size, self.quant_linear) for t in tensors]
        flat = [one for plan in plans for one in plan]
        with (self.job.made / name).open("wb") as out:
            out.write(header(flat))
            for tensor in tensors:
                self.tensor(self.job.source / name, tensor, out)
        return {one[0]: name for one in flat}

    def tensor(self, path: Path, tensor: Any, out: IO[bytes]) -> None:
        if layer := layer_of(tensor, self.layers, self.prefix):
            self.quantize(path, tensor, layer, out)
        else:
            for piece in pieces(path, tensor.start, tensor.end):
                out.write(piece)
        self.done += 1
        self.job.progress(self.done, self.of)

    def quantize(self, path: Path, tensor: Any, layer: str, out: IO[bytes]) -> None:
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            weight = file.get_tensor(tensor.name)
        try:
            made = self.quant_linear.quantize(weight, self.group_size)
        except ValueError as error:
            raise folder.Failure("run", f"{tensor.name}: {error}") from error
        for part in made:
            out.write(part.contiguous().numpy().data)
        self.errors.add(layer, *self.quant_linear.errors(weight, made, self.group_size))
        if rest := tensor.shape[1] % self.group_size:
            self.short[layer] = rest

    def config(self, where: Mapping[str, str]) -> None:
        """The config with what a reader must know; of several files, which tensor is where."""
        how = {"quant_method": self.quant_linear.METHOD, "bits": 4, "group_size": self.group_size, "kept": self.kept}
        config = dict(self.job.config) | {"quantization_config": how}
        (self.job.made / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        if len(self.job.weights) > 1:
            total = sum(t.end - t.start for name in self.job.weights for t in folder.tensors(self.job.made / name))
            index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
            (self.job.made / folder.INDEX).write_text(json.dumps(index, indent=2) + "\n")


def make(job: Any) -> Any:
    making = Making(job)
    making.make()
    return folder.Made(
        label=f"INT4 g{making.group_size}",
        parts=(".weight_scale", ".weight_zero"),
        fallbacks=tuple(f"{name}: INT4 wanted, kept (its weights are stored otherwise)" for name in making.kept),
        facts={
            "group_size": making.group_size,
            "relative_l2": making.errors.overall,
            "relative_l2_by_layer": making.errors.layers,
            "short_last_groups": making.short,
        },
    )


if __name__ == "__main__":
    sys.exit(folder.main("quantize_rtn", PACKAGES, make))
