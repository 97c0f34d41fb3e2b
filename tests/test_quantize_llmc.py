"""AWQ and GPTQ through llm-compressor: folders that transformers loads, from a text that is learnt from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from quantfarm.errors import UsageError
from quantfarm.nouns import Recipe, Trace
from quantfarm.quantizers import quantizer
from quantfarm.quantizers.awq import Awq
from quantfarm.quantizers.gptq import Gptq
from tests.folder_quantizers import (
    MODEL,
    calibration_text,
    error_of,
    held_out_text,
    made,
    python_of,
    quantize,
    start,
    until,
)
from tests.torch_lab import lab

#: Few and short: what is tested is not how well it learns.
FEW = {"samples": 8, "length": 128}
Made = dict[str, tuple[Path, Trace]]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calibration_text(tmp_path_factory.mktemp("calibration") / "text")


@pytest.fixture(scope="module")
def folders(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The reference model by both ways."""
    place = tmp_path_factory.mktemp("llmc")
    return {
        quant: (place / quant, quantize(quant.lower(), place / quant, quant, FEW, calibration=text))
        for quant in ("AWQ", "GPTQ")
    }


@pytest.mark.parametrize("quant", ["AWQ", "GPTQ"])
def test_what_is_made_is_what_it_says(folders: Made, text: Path, quant: str) -> None:
    out, trace = folders[quant]
    found = made(quant.lower(), trace)
    assert found["types"] == {f"{quant} INT4 g128": 42, "F16": 14}
    assert found["fallbacks"] == ()
    linear = 6 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 768)
    rest = found["facts"]["n_params"] - linear
    each = 4 + 16 / 128 + (4 / 128 if quant == "AWQ" else 0)  # a float16 scale; AWQ's zero point
    assert found["bits_per_weight"] == pytest.approx((linear * each + 16 * rest) / (linear + rest), rel=1e-3)
    facts = found["facts"]
    assert facts["calibration_sha256"] == hashlib.sha256(text.read_bytes()).hexdigest()
    assert (facts["group_size"], facts["samples"], facts["length"]) == (128, 8, 128)
    config = json.loads((out / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"
    assert config["quantization_config"]["format"] == "pack-quantized"
    assert config["dtype"] == "float16"
    assert (out / "tokenizer.json").read_bytes() == (MODEL / "tokenizer.json").read_bytes()


def test_it_is_loaded_again_and_nearly_as_good(folders: Made, tmp_path: Path) -> None:
    text = str(held_out_text(tmp_path / "text"))
    ask = [lab().ask("perplexity", folder=str(path), text=text) for path in (MODEL, *(f for f, _ in folders.values()))]
    base, *found = (one["ppl"] for one in ask)
    assert all(0.97 < ppl / base < 1.12 for ppl in found)
    assert all(one["dtype"] == "torch.float16" for one in ask)


def test_progress_counts_the_layers(folders: Made) -> None:
    steps = [(event["done"], event["of"]) for event in folders["GPTQ"][1].of("progress")]
    assert steps == [(i, 7) for i in range(1, 8)]


def test_where_the_usual_group_does_not_fit_a_smaller_one_is_taken_and_said(text: Path, tmp_path: Path) -> None:
    source = tmp_path / "model"
    shape = {"hidden_size": 96, "intermediate_size": 160, "num_attention_heads": 3, "num_key_value_heads": 3}
    lab().ask("model", out=str(source), kind="llama", tie_word_embeddings=True, **shape)
    out = tmp_path / "GPTQ"
    found = made("gptq", quantize("gptq", out, "GPTQ", FEW, source=source, calibration=text))
    assert found["types"]["GPTQ INT4 g32"] == 7
    assert found["fallbacks"] == ("group_size: 128 wanted, 32 used (rows of 96, 160)",)
    refused = quantize("gptq", tmp_path / "no", "GPTQ", {**FEW, "group_size": 64}, source=source, calibration=text)
    assert "rows of 96, 160 are no multiple of a group of 64" in error_of(refused)


def test_a_calibration_text_that_is_too_short_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("def f(x):\n    return x\n" * 100)
    error = error_of(quantize("gptq", tmp_path / "GPTQ", "GPTQ", FEW, calibration=tmp_path / "text"))
    assert "shorter than needed: 8 passages of 128 tokens" in error
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_closing_stdin_ends_it_and_leaves_nothing(text: Path, tmp_path: Path) -> None:
    process = start("awq", tmp_path / "AWQ", "AWQ", FEW, calibration=text)
    until(process, "progress")
    assert process.stdin and process.stdout
    process.stdin.close()
    assert process.wait(timeout=10) != 0
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_learnt_from_is_asked_for() -> None:
    recipe = Recipe(source="x", quantizer="awq", quant="AWQ")
    assert Awq().needs(recipe) == Gptq().needs(recipe) == ("calibration",)


@pytest.mark.parametrize(("option", "said"), [("samples", "from 1 to"), ("length", "from 16"), ("group_size", "8 to")])
def test_options_that_cannot_be_are_refused_before_anything_runs(option: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"AWQ\\+{option}=0: {option} is a whole number .*{said}"):
        start("awq", tmp_path / "AWQ", "AWQ", {option: 0})


def test_an_architecture_that_it_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    python_of(quantizer("awq"))  # with the environment made, llm-compressor's own table is read
    for made_by in (Awq(), Gptq()):
        assert made_by.obstacle({"architecture": "LlamaForCausalLM"}) == ""
        assert "does not do MadeUp" in made_by.obstacle({"architecture": "MadeUpForCausalLM"})
    assert "scaled together" in Awq().obstacle({"architecture": "OPTForCausalLM"})
    assert Gptq().obstacle({"architecture": "OPTForCausalLM"}) == ""
    monkeypatch.setattr(Awq, "packages", lambda _: None)
    assert Awq().obstacle({"architecture": "Qwen2ForCausalLM"}) == ""
    assert "scaled together" in Awq().obstacle({"architecture": "GemmaForCausalLM"})
