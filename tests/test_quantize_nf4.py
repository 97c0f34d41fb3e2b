"""The NF4 quantizer: folders that transformers loads with bitsandbytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantfarm.errors import UsageError
from quantfarm.nouns import Trace
from quantfarm.quantizers.nf4 import Nf4
from tests.folder_quantizers import MODEL, damaged, error_of, finish, held_out_text, made, quantize, start, until
from tests.torch_lab import lab


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trace]:
    """The reference model, quantized."""
    out = tmp_path_factory.mktemp("nf4") / "NF4"
    return out, quantize("nf4", out, "NF4")


def test_what_is_made_is_what_it_says(folder: tuple[Path, Trace]) -> None:
    out, trace = folder
    found = made("nf4", trace)
    assert found["types"] == {"NF4": 42, "F16": 14}
    linear = 6 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 768)
    rest = found["facts"]["n_params"] - linear
    # 4 bits, and a float32 for each block of 64; a table of 16 numbers with each layer comes on top.
    assert found["bits_per_weight"] == pytest.approx((linear * 4.5 + 16 * rest) / (linear + rest), rel=2e-3)
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    assert (config["quant_method"], config["bnb_4bit_quant_type"]) == ("bitsandbytes", "nf4")
    assert (out / "tokenizer.json").read_bytes() == (MODEL / "tokenizer.json").read_bytes()


def test_it_is_loaded_again_and_nearly_as_good(folder: tuple[Path, Trace], tmp_path: Path) -> None:
    text = str(held_out_text(tmp_path / "text"))
    base, found = (lab().ask("perplexity", folder=str(path), text=text) for path in (MODEL, folder[0]))
    assert (found["layers"], found["output"]) == (["Linear4bit"], "Linear")
    assert 0.98 < found["ppl"] / base["ppl"] < 1.10


def test_double_quant_takes_fewer_bits(folder: tuple[Path, Trace], tmp_path: Path) -> None:
    found = made("nf4", quantize("nf4", tmp_path / "NF4", "NF4", {"double_quant": True}))
    assert found["bits_per_weight"] < made("nf4", folder[1])["bits_per_weight"] - 0.1
    assert found["types"] == {"NF4": 42, "F16": 14}
    assert found["facts"]["double_quant"] is True


def test_killed_and_cut_off_it_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    process = start("nf4", tmp_path / "NF4", "NF4")
    until(process, "progress", 2)
    process.kill()
    finish(process)
    assert not (tmp_path / "NF4").exists()
    process = start("nf4", tmp_path / "NF4", "NF4")
    until(process, "progress")
    assert process.stdin and process.stdout
    process.stdin.close()
    assert process.wait(timeout=10) != 0
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_what_it_cannot_do_is_one_message(tmp_path: Path) -> None:
    whole = (MODEL / "model.safetensors").read_bytes()
    source = damaged(MODEL, tmp_path / "cut", weights=whole[:-1000])
    assert "model.safetensors is truncated" in error_of(quantize("nf4", tmp_path / "NF4", "NF4", source=source))
    with pytest.raises(UsageError, match="unknown option of NF4"):
        start("nf4", tmp_path / "NF4", "NF4", {"group_size": 64})
    assert "does not do MadeUp" in Nf4().obstacle({"architecture": "MadeUpForCausalLM"})
    assert Nf4().obstacle({"architecture": "GPT2LMHeadModel"}) == ""  # bitsandbytes has Conv1D too
