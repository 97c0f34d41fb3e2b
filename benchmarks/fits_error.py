"""How far `quantfarm fits` is off: real cells of three models beside what was predicted without running them.

    python benchmarks/fits_error.py [--quants F16,Q4_K_M] [--launches 1]

The reference model, stories260K (rows of 64, so fall-back types) and a llama of 94 million random weights, in which
weights, copies, cache and activations outweigh the process. Prompts of three lengths, a deep context, flash attention
off, and a cache in q8_0. Everything happens in a folder of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
STORIES = ROOT.parent / "shared" / "data" / "models" / "stories260K" / "stories260K-f32.gguf"
QUANTFARM = Path(sys.executable).parent / "quantfarm"
BENCH = {"kind": "bench", "repetitions": 1, "n_gen": 2}
WORKLOADS: list[dict[str, Any]] = [
    {"kind": "app", "n_prompt": 64, "n_gen": 4, "repetitions": 1},
    {**BENCH, "n_prompt": 512},
    {**BENCH, "n_prompt": 512, "flash_attn": "off"},
    {**BENCH, "n_prompt": 64, "n_depth": 768},
    {**BENCH, "n_prompt": 64, "n_depth": 768, "type_k": "q8_0", "type_v": "q8_0"},
]
#: Of the random model.
WIDTH, LAYERS, WIDE, HEADS, KV_HEADS = 1024, 8, 2816, 16, 4


def random_model(out: Path) -> None:
    """A llama with the reference model's vocabulary and random weights, in F16."""
    known = gguf.GGUFReader(ROOT / "reference_model" / "reference-F16.gguf")
    made = gguf.GGUFWriter(out, "llama")
    for name, field in known.fields.items():
        if name.startswith("tokenizer.") and field.types[0] == gguf.GGUFValueType.ARRAY:
            made.add_array(name, field.contents())
        elif name.startswith("tokenizer."):
            made.add_key_value(name, field.contents(), field.types[0])
    made.add_block_count(LAYERS)
    made.add_context_length(32768)
    made.add_embedding_length(WIDTH)
    made.add_feed_forward_length(WIDE)
    made.add_head_count(HEADS)
    made.add_head_count_kv(KV_HEADS)
    made.add_layer_norm_rms_eps(1e-5)
    made.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    chance, small = np.random.default_rng(0), WIDTH // HEADS * KV_HEADS
    shapes = {"token_embd": (4096, WIDTH)}
    for layer in range(LAYERS):
        at = f"blk.{layer}"
        shapes |= {f"{at}.attn_q": (WIDTH, WIDTH), f"{at}.attn_k": (small, WIDTH), f"{at}.attn_v": (small, WIDTH)}
        shapes |= {f"{at}.attn_output": (WIDTH, WIDTH), f"{at}.ffn_down": (WIDTH, WIDE)}
        shapes |= {f"{at}.ffn_gate": (WIDE, WIDTH), f"{at}.ffn_up": (WIDE, WIDTH)}
    for name, shape in shapes.items():
        weights = chance.standard_normal(shape, dtype=np.float32) * 0.02
        made.add_tensor(f"{name}.weight", weights.astype(np.float16))
    for name in ["output_norm", *(f"blk.{i}.{part}_norm" for i in range(LAYERS) for part in ("attn", "ffn"))]:
        made.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.write_tensors_to_file()
    made.close()


def quantfarm(home: Path, *arguments: str) -> dict[str, Any]:
    environment = {**os.environ, "QUANTFARM_HOME": str(home), "QUANTFARM_LEASES": str(home / "leases")}
    done = subprocess.run([QUANTFARM, *arguments, "--json"], env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def errors(home: Path, model: str, quants: str, launches: int) -> list[dict[str, Any]]:
    sweep = {"model": model, "quants": quants.split(","), "launches": launches, "workloads": WORKLOADS}
    file = home / "sweep.yaml"
    file.write_text(json.dumps(sweep))
    quantfarm(home, "sweep", str(file))
    found = quantfarm(home, "fits", model, "--quants", quants)
    return [{"model": found["model"], **one} for one in found["measured"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quants", default="F16,Q4_K_M")
    parser.add_argument("--launches", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, random = Path(folder), Path(folder) / "random94M.gguf"
        random_model(random)
        models = ["reference", str(random), *([str(STORIES)] if STORIES.exists() else [])]
        rows = [row for model in models for row in errors(home, model, given.quants, given.launches)]
    for row in rows:
        print(
            f"{row['model']:18} {row['variant']:7} {row['workload']:44} measured {row['measured_mib']:7.1f} MiB,"
            f" predicted {row['predicted_mib']:7.1f} MiB, error {row['error_percent']:+5.1f} %"
        )
    sizes = sorted(abs(row["error_percent"]) for row in rows)
    within = sum(size <= 5 for size in sizes)
    print(f"{within} of {len(sizes)} within 5 %; median {sizes[len(sizes) // 2]:.1f} %, largest {sizes[-1]:.1f} %")


if __name__ == "__main__":
    main()
