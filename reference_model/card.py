"""The model card of the reference model: a template, and figures read from what they are figures of."""

# Rows of a Markdown table cannot be broken:
# ruff: noqa: E501

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

TEMPLATE = """\
# The reference model

A small Llama ({parameters:,} parameters) that knows Python source code, made so that quantization can
be measured anywhere with no download. It is an instrument, not an assistant: it completes code in the
style of the standard library, and is good for nothing else.

| | |
|---|---|
| architecture | {architecture}: {layers} layers, width {width}, {heads} heads ({kv_heads} for keys and values), feed-forward {ffn}, context {context} |
| weights | float16, tied embeddings; every row is a multiple of 256 long, so K-quants are really used |
| tokenizer | byte-level BPE, {vocabulary:,} entries, the split regex of Llama 3 (llama.cpp's `llama-bpe`) |
| trained on | the sources of the standard library and `pydoc_data` of CPython {python}: {train_bytes:,} bytes, {train_tokens:,} tokens, sha256 `{train_sha256}` |
| judged on | modules held out by the hash of their names: {held_out_bytes:,} bytes, {held_out_tokens:,} tokens, sha256 `{held_out_sha256}` |
| training | {steps:,} steps, {tokens:,} tokens ({epochs:.1f} times the training text), {minutes:.0f} minutes on two CPU cores, in {stages} |
| held-out perplexity | {ppl:.2f} while training ended (windows of 512 tokens; the farm's own figures are measured as in the README) |
| `model.safetensors` | {safetensors_bytes:,} bytes, sha256 `{safetensors_sha256}` |
| `{gguf}` | {gguf_bytes:,} bytes, sha256 `{gguf_sha256}` |

The corpus is `quantfarm/corpus.py`, the training `train.py`, the GGUF is made from `model/` by
`convert.py`, which writes this page too. The text that a perplexity is measured on is read from the
running Python and differs between its versions; its sha256 is part of every quality result.

**Licence.** The weights are released under Apache-2.0 as the rest of the project. They were trained on
text of CPython under the PSF License Version 2.
"""


def stages(training: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of train.py that the weights went through, the first one first."""
    earlier = training.get("continued_from")
    return [*(stages(earlier) if earlier else []), training]


def held_out_nll(training: dict[str, Any]) -> float:
    """Nats per token over the held-out part at the end of training."""
    return float(next(value for key, value in training.items() if key.startswith("held_out_nll")))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def text(folder: Path, gguf: Path) -> str:
    """The card. Raises KeyError when training.json or config.json lacks a figure."""
    training = json.loads((folder / "training.json").read_text())
    runs = stages(training)
    tokens, seeds = sum(run["tokens_seen"] for run in runs), ", ".join(str(run["seed"]) for run in runs)
    config = json.loads((folder / "config.json").read_text())
    weights = folder / "model.safetensors"
    return TEMPLATE.format(
        **training | {key: sum(run[key] for run in runs) for key in ("steps", "minutes")},
        ppl=math.exp(held_out_nll(training)),
        tokens=tokens,
        epochs=tokens / training["train_tokens"],
        stages="one stage" if len(runs) == 1 else f"{len(runs)} stages (seeds {seeds})",
        architecture=config["architectures"][0],
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        ffn=config["intermediate_size"],
        context=config["max_position_embeddings"],
        vocabulary=config["vocab_size"],
        safetensors_bytes=weights.stat().st_size,
        safetensors_sha256=sha256(weights),
        gguf=gguf.name,
        gguf_bytes=gguf.stat().st_size,
        gguf_sha256=sha256(gguf),
    )
