"""Quantize a Hugging Face folder to NF4 with bitsandbytes: events as JSON lines on stdout.

    python -P quantize_nf4.py --request '{"source": …, "out": …, "quant": "NF4", "options": {"double_quant": true}}'

The output layer and the embeddings stay as they are (transformers' own rule).
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
PACKAGES = ("torch", "transformers", "bitsandbytes")
#: The tensors that bitsandbytes writes beside a quantized weight.
PARTS = tuple(
    f".weight.{end}"
    for end in ("absmax", "nested_absmax", "quant_map", "nested_quant_map", "quant_state.bitsandbytes__nf4")
)


def config(job: Any, double_quant: bool) -> Any:
    """bitsandbytes computes in the type that the model was published in."""
    import torch
    from transformers import AutoConfig, BitsAndBytesConfig

    published = AutoConfig.from_pretrained(job.source, trust_remote_code=False)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quant,
        bnb_4bit_compute_dtype=published.dtype or torch.float32,
    )


def make(job: Any) -> Any:
    if job.quant != "NF4":
        raise folder.Failure("start", f"unknown quant {job.quant}: known is NF4")
    import torch
    from transformers import AutoModelForCausalLM

    double_quant = bool(job.option("double_quant", False))
    job.progress(0, 2)
    model = AutoModelForCausalLM.from_pretrained(
        job.source,
        quantization_config=config(job, double_quant),
        device_map="cuda" if torch.cuda.is_available() else "cpu",
        trust_remote_code=False,
        use_safetensors=True,
    )
    job.progress(1, 2)
    model.save_pretrained(job.made)
    job.progress(2, 2)
    return folder.Made("NF4", PARTS, facts={"double_quant": double_quant, "block_size": 64})


if __name__ == "__main__":
    sys.exit(folder.main("quantize_nf4", PACKAGES, make))
