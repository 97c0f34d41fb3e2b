"""The MLX quantizer: folders that mlx-lm loads, on a CPU too."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from quantfarm.errors import UsageError
from quantfarm.nouns import Recipe, Trace
from quantfarm.quantizers import quantizer
from quantfarm.quantizers.mlx import Mlx
from tests.conftest import ROOT
from tests.folder_quantizers import (
    MODEL,
    QUIET,
    digests,
    error_of,
    finish,
    held_out_text,
    made,
    python_of,
    quantize,
    start,
    until,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Trace]]:
    """The reference model in both widths."""
    place = tmp_path_factory.mktemp("mlx")
    return {quant: (place / quant, quantize("mlx", place / quant, quant)) for quant in Mlx.quants}


@pytest.mark.parametrize(("quant", "bits"), [("MLX-4", 4), ("MLX-8", 8)])
def test_what_is_made_is_what_it_says(folders: dict[str, tuple[Path, Trace]], quant: str, bits: int) -> None:
    out, trace = folders[quant]
    found = made("mlx", trace)
    assert found["types"] == {f"{quant} g64": 43, "F16": 13}  # the embeddings too; the norms are kept
    # A float16 scale and bias for each 64 weights.
    assert bits + 32 / 64 <= found["bits_per_weight"] < bits + 0.6
    assert found["fallbacks"] == ()
    config = json.loads((out / "config.json").read_text())
    assert config["quantization"] == {"group_size": 64, "bits": bits, "mode": "affine"}
    assert (out / "tokenizer.json").read_bytes() == (MODEL / "tokenizer.json").read_bytes()


def test_it_is_loaded_again_and_nearly_as_good(folders: dict[str, tuple[Path, Trace]], tmp_path: Path) -> None:
    command = [python_of(quantizer("mlx")), ROOT / "tests" / "mlx_check.py", held_out_text(tmp_path / "text"), MODEL]
    command += [folder for folder, _ in folders.values()]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **QUIET}).stdout
    base, four, eight = (json.loads(line) for line in said.splitlines())
    assert (base["quantized"], four["quantized"], eight["quantized"]) == (False, True, True)
    assert 0.98 < four["ppl"] / base["ppl"] < 1.15
    assert 0.995 < eight["ppl"] / base["ppl"] < 1.005


def test_the_same_source_and_options_give_the_same_bytes(
    folders: dict[str, tuple[Path, Trace]], tmp_path: Path
) -> None:
    assert quantize("mlx", tmp_path / "again", "MLX-4").finished
    assert digests(tmp_path / "again") == digests(folders["MLX-4"][0])


def test_a_smaller_group_takes_more_bits(folders: dict[str, tuple[Path, Trace]], tmp_path: Path) -> None:
    found = made("mlx", quantize("mlx", tmp_path / "fine", "MLX-4", {"group_size": 32}))
    assert found["bits_per_weight"] > made("mlx", folders["MLX-4"][1])["bits_per_weight"] + 0.4
    assert found["facts"]["group_size"] == 32


def test_rows_that_are_no_multiple_of_the_group_are_reported(tmp_path: Path) -> None:
    # 768 is a multiple of 128 and of 64; of a model whose config says 96 nothing is.
    source = tmp_path / "model"
    source.mkdir()
    program = (
        "import sys, json, mlx.core as mx\n"
        "config = json.load(open(sys.argv[1] + '/config.json'))\n"
        "config |= dict(hidden_size=96, intermediate_size=128, num_hidden_layers=1, num_attention_heads=3,\n"
        "               num_key_value_heads=3, head_dim=32)\n"
        "from mlx_lm.models.llama import Model, ModelArgs\n"
        "from mlx.utils import tree_flatten\n"
        "model = Model(ModelArgs.from_dict(config))\n"
        "mx.save_safetensors(sys.argv[2] + '/model.safetensors', dict(tree_flatten(model.parameters())))\n"
        "json.dump(config, open(sys.argv[2] + '/config.json', 'w'))\n"
    )
    subprocess.run([python_of(quantizer("mlx")), "-c", program, MODEL, source], check=True, env={**os.environ, **QUIET})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (source / name).write_bytes((MODEL / name).read_bytes())
    found = made("mlx", quantize("mlx", tmp_path / "out", "MLX-4", source=source))
    assert found["types"]["MLX-4 g64"] == 1  # mlp.down_proj alone has rows of 128
    why = "rows of 96 are no multiple of 64"
    assert f"model.layers.0.mlp.up_proj.weight: MLX-4 wanted, F32 kept ({why})" in found["fallbacks"]
    assert len(found["fallbacks"]) == 7


def test_killed_it_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    out = tmp_path / "MLX-4"
    for event in ("begin", "progress"):
        process = start("mlx", out, "MLX-4")
        until(process, event)
        process.kill()
        finish(process)
        assert not out.exists() or (out / "config.json").exists()
        assert all(path == out or path.name.endswith(".tmp") for path in tmp_path.iterdir())
    assert quantize("mlx", out, "MLX-4").finished
    assert [path.name for path in tmp_path.iterdir()] == ["MLX-4"]


def test_closing_stdin_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    process = start("mlx", tmp_path / "MLX-4", "MLX-4")
    until(process, "begin")
    assert process.stdin and process.stdout
    process.stdin.close()
    assert process.wait(timeout=10) != 0
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    error = error_of(quantize("mlx", tmp_path / "MLX-4", "MLX-4", preexec_fn=small_files))
    assert f"MiB are free in {tmp_path}" in error or "truncated" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 48, "64"])
def test_a_group_that_mlx_has_no_kernel_for_is_refused_before_anything_runs(size: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="group_size is one of 32, 64, 128"):
        start("mlx", tmp_path / "out", "MLX-4", {"group_size": size})


def test_an_unknown_width_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean MLX-"):
        Mlx().command(Recipe(source="x", quantizer="mlx", quant="MLX-5"), {}, "out")


def test_an_architecture_without_code_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    python_of(quantizer("mlx"))  # with the environment made, mlx-lm's own modules are looked through
    for known in ("LlamaForCausalLM", "MistralForCausalLM", "Qwen3ForCausalLM", "GPT2LMHeadModel"):
        assert Mlx().obstacle({"architecture": known}) == ""
    assert Mlx().obstacle({"architecture": "BloomForCausalLM"}) == "mlx-lm has no code for BloomForCausalLM"
    assert Mlx().obstacle({"architecture": "MadeUpForCausalLM"})
    monkeypatch.setattr(Mlx, "packages", lambda _: None)
    assert Mlx().obstacle({"architecture": "Gemma2ForCausalLM"}) == ""
    assert Mlx().obstacle({"architecture": "MadeUpForCausalLM"})
