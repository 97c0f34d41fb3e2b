"""Perplexity of MLX folders, as JSON lines; runs in MLX's environment.

python mlx_check.py TEXT FOLDER…      of the second half of 256 tokens
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx_lm import load


def perplexity(folder: str, text: str) -> dict[str, Any]:
    model, tokenizer = load(folder)
    model.set_dtype(mx.float32)  # as the runner does, and many times faster on a CPU
    ids = tokenizer.encode(text, add_special_tokens=False)
    chunk = mx.array([ids[:256]])
    nll = nn.losses.cross_entropy(model(chunk)[0, 127:-1], chunk[0, 128:], reduction="mean")
    kinds = {type(module).__name__ for _, module in model.named_modules()}
    return {"ppl": mx.exp(nll).item(), "quantized": "QuantizedLinear" in kinds}


def main() -> None:
    text = Path(sys.argv[1]).read_text()
    for folder in sys.argv[2:]:
        sys.stdout.write(json.dumps(perplexity(folder, text)) + "\n")


if __name__ == "__main__":
    main()
