"""A long-lived helper in the transformers environment: started once for all tests, asked by JSON lines.

    python torch_lab.py      then   {"op": "pack", …} on stdin, one answer a line on stdout

torch is not in the tests' own environment, and to import it takes seconds.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RUNNERS = HERE.parent / "runners"


class Lab:
    def __init__(self, python: Path) -> None:
        from tests.folder_quantizers import QUIET

        pipe, env = subprocess.PIPE, {**os.environ, **QUIET}
        self.process = subprocess.Popen(
            [str(python), str(HERE / "torch_lab.py")], stdin=pipe, stdout=pipe, text=True, env=env
        )

    def ask(self, op: str, **given: Any) -> Any:
        assert self.process.stdin and self.process.stdout
        print(json.dumps({"op": op, **given}), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def close(self) -> None:
        with self.process:
            assert self.process.stdin
            self.process.stdin.close()


@functools.cache
def lab() -> Lab:
    from quantfarm.quantizers import quantizer
    from tests.folder_quantizers import python_of

    started = Lab(python_of(quantizer("rtn")))
    atexit.register(started.close)
    return started


# ------------------------------------------------------------------ in the environment


def runner(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, RUNNERS / f"{name}.py")
    assert spec and spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    libraries, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    spec.loader.exec_module(module)
    sys.dont_write_bytecode = libraries
    return module


def main() -> None:
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    ours = runner("quant_linear")
    ours.register()
    runner("transformers_hf").read_zero_points()
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            said = {"answer": globals()[f"op_{asked.pop('op')}"](torch, transformers, ours, **asked)}
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(said), file=answers, flush=True)


def op_pack(torch: Any, _: Any, ours: Any, values: list[list[int]]) -> Any:
    packed = ours.pack(torch.tensor(values, dtype=torch.uint8))
    return {"packed": packed.tolist(), "again": ours.unpack(packed, len(values[0])).tolist()}


def op_quantize(torch: Any, _: Any, ours: Any, weight: list[list[float]], group_size: int) -> Any:
    """What is made of a weight in float32, and the weights that come of it."""
    given = torch.tensor(weight, dtype=torch.float32)
    try:
        made = ours.quantize(given, group_size)
    except ValueError as error:
        return {"refused": str(error)}
    width, groups = given.shape[1], made.scale.shape[1]
    off, of = ours.errors(given, made, group_size)
    return {
        "packed": made.packed.tolist(),
        "q": ours.unpack(made.packed, width).tolist(),
        "scale": made.scale.float().tolist(),
        "zero": ours.unpack(made.zero, groups).tolist(),
        "weight": given.tolist(),
        "again": ours.dequantize(made, width, group_size).tolist(),
        "shapes": [list(part.shape) for part in made],
        "promised": [list(part.shape) for part in ours.shapes(*given.shape, group_size)],
        "error": math.sqrt(off / of) if of else 0.0,
    }


def op_blocks(torch: Any, _: Any, ours: Any, block: int) -> bool:
    """Whether a weight quantized in many blocks of rows is the same as in one."""
    weight = torch.randn(37, 300, generator=torch.Generator().manual_seed(0))
    whole, usual = ours.quantize(weight, 64), ours.BLOCK
    ours.BLOCK = block
    try:
        parts = ours.quantize(weight, 64)
    finally:
        ours.BLOCK = usual
    return all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def op_perplexity(torch: Any, transformers: Any, _: Any, folder: str, text: str) -> Any:
    """Of four chunks of 256 tokens, their second halves; and which layers it has."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids, nll = tokenizer(Path(text).read_text(), add_special_tokens=False)["input_ids"], []
    with torch.no_grad():
        for i in range(4):
            chunk = torch.tensor([ids[256 * i : 256 * (i + 1)]])
            log_p = model(input_ids=chunk).logits[0].float().log_softmax(-1)
            nll.append(-log_p[127:-1].gather(1, chunk[0, 128:, None]).mean().item())
    layer = model.model.layers[0]
    return {
        "ppl": math.exp(sum(nll) / len(nll)),
        "layers": sorted({type(m).__name__ for m in (layer.self_attn.q_proj, layer.mlp.down_proj)}),
        "output": type(model.get_output_embeddings()).__name__,
        "dtype": str(model.dtype),
    }


def _logits(torch: Any, model: Any) -> Any:
    with torch.no_grad():
        return model(input_ids=torch.arange(2, 34)[None]).logits


def op_same_outputs(torch: Any, transformers: Any, ours: Any, source: str, folder: str, group_size: int) -> Any:
    """Whether a folder's logits are those of the source quantized in memory, and stay so when it is saved again."""
    load = transformers.AutoModelForCausalLM.from_pretrained
    loaded = load(folder)
    here, there = _logits(torch, ours.quantize_model(load(source), group_size)), _logits(torch, loaded)
    again = f"{folder}-again"
    loaded.save_pretrained(again)
    layers = [name for name, module in loaded.named_modules() if isinstance(module, ours.QuantLinear)]
    return {
        "equal": bool(torch.equal(here, there)),
        "saved": bool(torch.equal(there, _logits(torch, load(again)))),
        "finite": bool(torch.isfinite(there).all()),
        "layers": layers,
        "output": type(loaded.get_output_embeddings()).__name__,
        "embedding": type(loaded.get_input_embeddings()).__name__,
    }


def op_model(torch: Any, transformers: Any, _: Any, out: str, kind: str, shard: str = "1GB", **config: Any) -> None:
    """A tiny model with random weights and the given config."""
    torch.manual_seed(0)
    dtype = getattr(torch, config.pop("dtype", "float32"))
    made = transformers.AutoConfig.for_model(kind, vocab_size=4096, num_hidden_layers=1, **config)
    transformers.AutoModelForCausalLM.from_config(made).to(dtype).save_pretrained(out, max_shard_size=shard)
    tokenizer = HERE.parent / "reference_model" / "model"
    transformers.AutoTokenizer.from_pretrained(tokenizer).save_pretrained(out)


if __name__ == "__main__":
    main()
