"""A Hugging Face folder as a model: config.json, safetensors, a tokenizer. Pickles and code are never touched."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quantfarm.errors import UsageError
from quantfarm.models import digests
from quantfarm.models.source import ModelSource
from quantfarm.toolchain.conversion import known_architectures

#: What a conversion reads; everything else in a folder does not count.
WEIGHTS = "model*.safetensors"
COUNTS = (WEIGHTS, "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt", "README.md")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
INDEX = "model.safetensors.index.json"
#: Headers are a few hundred kilobytes even for the largest models; the format allows 100 MB.
HEADER_LIMIT = 100 * 10**6


def read_json(path: Path) -> dict[str, Any]:
    """Raises UsageError for a file that is no JSON object."""
    try:
        content: Any = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is no JSON object")
    return content  # pyright: ignore[reportUnknownVariableType]


def n_weights(path: Path) -> int:
    """How many numbers a safetensors file holds. Raises UsageError for one that is damaged or truncated."""
    return sum(math.prod(tensor["shape"]) for tensor in tensors_of(path).values())


def tensors_of(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file: name -> dtype, shape, data_offsets. Raises UsageError for a damaged one.

    Format: 8 bytes length, a JSON header with the shape and offsets of each tensor, the data.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else HEADER_LIMIT + 1
        if length > HEADER_LIMIT:
            raise UsageError(f"{path} is no safetensors file ({size} bytes)")
        raw = file.read(length)
    try:
        tensors: dict[str, Any] = {k: v for k, v in json.loads(raw).items() if k != "__metadata__"}
        promised = 8 + length + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        sum(math.prod(tensor["shape"]) for tensor in tensors.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is truncated or damaged: {size} bytes, and its header cannot be read") from error
    if size < promised:
        raise UsageError(f"{path} is truncated: {size} bytes, and its header promises {promised}")
    return tensors


def described(folder: Path) -> dict[str, Any]:
    """`bits_per_weight`, `types`, `fallbacks` and `facts` of a published model, from its headers."""
    types: dict[str, int] = {}
    weights_there = held = 0
    for part in weights(folder):
        for tensor in tensors_of(part).values():
            kind, (start, end) = str(tensor["dtype"]), tensor["data_offsets"]
            types[kind] = types.get(kind, 0) + 1
            weights_there, held = weights_there + math.prod(tensor["shape"]), held + end - start
    if not weights_there:
        raise UsageError(f"{folder} holds no tensors")
    facts = config_facts(read_json(folder / "config.json")) | {"n_params": weights_there, "tensor_bytes": held}
    return {"bits_per_weight": 8 * held / weights_there, "types": types, "fallbacks": (), "facts": facts}


def files(folder: Path) -> list[Path]:
    """Those that count: what is hashed, and what a device is sent."""
    return sorted({path for pattern in COUNTS for path in folder.glob(pattern) if path.is_file()})


def weights(folder: Path) -> list[Path]:
    """The safetensors of a folder, all that its index names. Raises UsageError when there are none, or pickles only."""
    found = sorted(folder.glob(WEIGHTS))
    if (folder / INDEX).exists():
        named = sorted(set(read_json(folder / INDEX).get("weight_map", {}).values()))
        if missing := [name for name in named if not (folder / name).exists()]:
            raise UsageError(f"{folder} lacks {', '.join(missing)}, which its {INDEX} names")
    if found:
        return found
    if pickles := sorted(path.name for pattern in PICKLES for path in folder.glob(pattern)):
        raise UsageError(
            f"{folder} holds its weights as pickles only ({', '.join(pickles[:3])}), which can run code when loaded: "
            f"they are not opened. Take a safetensors version of the model"
        )
    raise UsageError(f"{folder} is no Hugging Face model: it holds no {WEIGHTS}")


def listing(folder: Path, sha256: Callable[[Path], str] = digests.sha256) -> str:
    """The sha256 over the sorted (name, sha256) of the files that count."""
    lines = "".join(f"{sha256(path)}  {path.name}\n" for path in files(folder))
    return hashlib.sha256(lines.encode()).hexdigest()


def config_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """The shape that memory is estimated from; 0 where the config does not say."""
    text: Mapping[str, Any] = config.get("text_config") or config
    heads = int(text.get("num_attention_heads") or 0)
    width = int(text.get("hidden_size") or 0)
    return {
        "architecture": architecture(config),
        "n_layer": int(text.get("num_hidden_layers") or 0),
        "n_embd": width,
        "n_head": heads,
        "n_head_kv": int(text.get("num_key_value_heads") or heads),
        "head_dim": int(text.get("head_dim") or (width // heads if heads else 0)),
        "n_vocab": int(text.get("vocab_size") or 0),
        "n_ctx_train": int(text.get("max_position_embeddings") or 0),
    }


def architecture(config: Mapping[str, Any]) -> str:
    return str(next(iter(config.get("architectures") or [""])))


def unconvertible(config: Mapping[str, Any]) -> str:
    """Why llama.cpp's converter makes no GGUF of a model: it has no code for it, and the model's own is not run. Empty
    where it can, and while its sources, which know, are not here."""
    arch, known = architecture(config), known_architectures()
    if not known or arch in known:
        return ""
    also = ". It brings Python code of its own (auto_map), which is never run here" if "auto_map" in config else ""
    return f"llama.cpp's converter does not know its architecture, {arch or '(none named)'}{also}"


def notes(name: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """For the user."""
    return (f"{name} brings Python code of its own (auto_map): it is not run",) if "auto_map" in config else ()


def folder(path: Path, name: str = "") -> ModelSource:
    """Raises UsageError for a folder that is no whole safetensors model."""
    if not (path / "config.json").is_file():
        weights(path)  # a more telling message where there are no weights either
        raise UsageError(f"{path} is no Hugging Face model: it has no config.json")
    parts = weights(path)
    config = read_json(path / "config.json")
    name = name or path.resolve().name
    return ModelSource(
        name=name,
        kind="folder",
        id=listing(path),
        path=path,
        format="hf",
        n_params=sum(n_weights(part) for part in parts),
        size=sum(part.stat().st_size for part in parts),
        facts=config_facts(config),
        unconvertible=unconvertible(config),
        notes=notes(name, config),
    )
