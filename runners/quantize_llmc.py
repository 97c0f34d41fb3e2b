"""Quantize a Hugging Face folder to 4 bits with llm-compressor (AWQ or GPTQ): events as JSON lines on stdout.

    python -P quantize_llmc.py --request '{"source": …, "out": …, "quant": "AWQ", "calibration": "text.txt",
                                           "options": {"group_size": 128, "samples": 128, "length": 512}}'

Writes compressed-tensors, which transformers and vLLM load. AWQ has a zero point for each group (W4A16_ASYM),
GPTQ has none (W4A16). The output layer and the embeddings stay as they are.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch==2.13.0",
#     "llmcompressor>=0.10",
#     "transformers>=5.0",
#     "accelerate>=1.10",
#     "numpy>=2.0",
# ]
# ///
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import hashlib
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
PACKAGES = ("torch", "transformers", "llmcompressor", "compressed-tensors")
QUANTS = ("AWQ", "GPTQ")
PARTS = (".weight_scale", ".weight_shape", ".weight_zero_point", ".weight_g_idx")
#: Tried in this order where the user asks for none: the widest that every row is a multiple of.
GROUPS = (128, 64, 32)
#: No tokenizer makes tokens of more characters than this on average; what lies beyond is not tokenised.
CHARACTERS = 16


# --- what is learnt from ---


def sequences(text: str, tokenizer: Any, samples: int, length: int) -> list[list[int]]:
    """`samples` passages of `length` tokens, spread evenly over the text. Raises Failure where it is too short."""
    stride, found = len(text) // samples, []
    for i in range(samples):
        passage = text[i * stride : (i + 1) * stride]
        passage = passage[passage.find("\n", 0, stride // 4) + 1 :]  # from the beginning of a line
        ids = tokenizer(passage[: length * CHARACTERS])["input_ids"]
        if len(ids) < length:
            raise folder.Failure(
                "start",
                f"the calibration text is shorter than needed: {samples} passages of {length} tokens were asked for, "
                f"and passage {i + 1} of its {len(text)} characters has {len(ids)}. Give a longer text, or ask for "
                f"less (+samples=N, +length=N)",
            )
        found.append(ids[:length])
    return found


def calibration(job: Any, tokenizer: Any, samples: int, length: int) -> tuple[Any, str]:
    """The data set, and the sha256 of the text that it is from."""
    from datasets import Dataset

    if not job.request.get("calibration"):
        raise folder.Failure("start", f"{job.quant} learns from a text, and the request names none (calibration)")
    raw = Path(job.request["calibration"]).read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise folder.Failure("start", f"the calibration text is no UTF-8: {error}") from error
    ids = sequences(text, tokenizer, samples, length)
    rows = [{"input_ids": one, "attention_mask": [1] * len(one)} for one in ids]
    return Dataset.from_list(rows), hashlib.sha256(raw).hexdigest()


# --- quantizing ---


def group_size(job: Any, model: Any) -> tuple[int, tuple[str, ...]]:
    """In effect, and what is to be said where it is not the usual one. Raises Failure where no group fits."""
    import torch

    output = model.get_output_embeddings()
    widths = {m.in_features for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not output}
    if not widths:
        raise folder.Failure("load", "it has no linear layers: there is nothing to quantize")
    wanted = int(job.option("group_size", GROUPS[0]))
    if wanted < 1:
        raise folder.Failure("start", f"group_size {wanted}: a group has at least one weight")
    odd = ", ".join(str(width) for width in sorted(widths) if width % wanted)
    for size in (wanted,) if job.given("group_size") else GROUPS:
        if not any(width % size for width in widths):
            return size, () if size == wanted else (f"group_size: {wanted} wanted, {size} used (rows of {odd})",)
    raise folder.Failure("start", f"rows of {odd} are no multiple of a group of {wanted}: ask for another +group_size")


def recipe(quant: str, size: int) -> list[Any]:
    from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier

    weights = {"num_bits": 4, "type": "int", "symmetric": quant == "GPTQ", "strategy": "group", "group_size": size}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    if quant == "GPTQ":
        return [GPTQModifier(config_groups=groups, ignore=["lm_head"])]
    try:
        from llmcompressor.modifiers.transform.awq import AWQModifier
    except ImportError:  # its place before 0.11
        from llmcompressor.modifiers.awq import AWQModifier

        return [AWQModifier(config_groups=groups, ignore=["lm_head"])]
    return [AWQModifier(), QuantizationModifier(config_groups=groups, ignore=["lm_head"])]


def watched(job: Any) -> None:
    """Progress by layer: llm-compressor tells itself when it has done with one."""
    from llmcompressor.core import LifecycleCallbacks

    told, n_layer, done = LifecycleCallbacks.sequential_epoch_end, int(job.text.get("num_hidden_layers") or 0), 0

    def tell(*given: Any, **named: Any) -> Any:
        nonlocal done
        done += 1
        job.progress(done, max(done, n_layer + 1))  # and what is after the last layer
        return told(*given, **named)

    LifecycleCallbacks.sequential_epoch_end = tell


def without_pinning() -> None:
    """Pinned memory speeds up copies to an accelerator; without one torch refuses to pin."""
    import torch
    from llmcompressor.pipelines.cache import IntermediatesCache

    if not torch.cuda.is_available():
        IntermediatesCache.pin_memory = lambda *_, **__: None


def number(job: Any, name: str, default: int, least: int) -> int:
    given = int(job.option(name, default))
    if given < least:
        raise folder.Failure("start", f"{name} {given}: at least {least}")
    return given


def make(job: Any) -> Any:
    if job.quant not in QUANTS:
        raise folder.Failure("start", f"unknown quant {job.quant}: known are {', '.join(QUANTS)}")
    samples, length = number(job, "samples", 128, 1), number(job, "length", 512, 16)
    longest = int(job.text.get("max_position_embeddings") or length)
    if job.given("length") and length > longest:
        raise folder.Failure("start", f"length {length}: the model was trained on {longest} tokens at most")
    length = min(length, longest)
    import torch
    from llmcompressor import oneshot
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(job.source, trust_remote_code=False)
    data, sha256 = calibration(job, tokenizer, samples, length)
    model = AutoModelForCausalLM.from_pretrained(job.source, trust_remote_code=False, use_safetensors=True)
    published = model.dtype
    if not torch.cuda.is_available():  # a CPU computes in 16 bits several times slower, and less exactly
        model.float()
    size, said = group_size(job, model)
    watched(job)
    without_pinning()
    oneshot(
        model=model,
        processor=tokenizer,
        dataset=data,
        recipe=recipe(job.quant, size),
        max_seq_length=length,
        num_calibration_samples=samples,
        shuffle_calibration_samples=False,
        pipeline="sequential",
    )
    model.to(published)  # what was quantized stays: a scale in 16 bits moves a weight by far less than half a step
    model.save_pretrained(job.made, save_compressed=True)
    facts = {"group_size": size, "calibration_sha256": sha256, "samples": samples, "length": length}
    return folder.Made(f"{job.quant} INT4 g{size}", PARTS, said, facts)


if __name__ == "__main__":
    sys.exit(folder.main("quantize_llmc", PACKAGES, make))
