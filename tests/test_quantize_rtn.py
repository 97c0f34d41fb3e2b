"""Our own round to nearest: what it makes of a weight, of a model, and that the model is read again as it was."""

from __future__ import annotations

import json
import math
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantfarm.errors import UsageError
from quantfarm.nouns import Trace
from quantfarm.quantizers.rtn import Rtn
from tests.folder_quantizers import (
    MODEL,
    damaged,
    digests,
    error_of,
    finish,
    held_out_text,
    made,
    quantize,
    start,
    until,
)
from tests.torch_lab import lab


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trace]:
    """The reference model, quantized."""
    out = tmp_path_factory.mktemp("rtn") / "RTN"
    return out, quantize("rtn", out, "RTN")


def of(rows: list[list[float]], group_size: int) -> dict[str, Any]:
    return lab().ask("quantize", weight=rows, group_size=group_size)


# ------------------------------------------------------------------ of a weight


def test_a_group_by_hand() -> None:
    # 15 steps from -1 to 2: 0.2, and the float16 that is not below it; 5 steps lie below 0.
    found = of([[-1.0, 0.0, 0.5, 2.0]], 4)
    assert math.isclose(found["scale"][0][0], 0.20007324, rel_tol=1e-7)
    assert found["zero"] == [[5]]
    assert found["q"] == [[0, 5, 7, 15]]
    assert found["packed"] == [[0 | 5 << 4, 7 | 15 << 4]]
    assert np.allclose(found["again"], np.array([[-5, 0, 2, 10]]) * found["scale"][0][0], rtol=0, atol=0)


def test_a_group_that_does_not_reach_zero_still_has_it() -> None:
    found = of([[15.0, 30.0]], 2)
    assert (found["zero"], found["scale"], found["q"]) == ([[0]], [[2.0]], [[8, 15]])
    found = of([[-15.0, -30.0]], 2)
    assert (found["zero"], found["scale"], found["q"]) == ([[15]], [[2.0]], [[7, 0]])


def test_a_row_of_zeros_stays_so() -> None:
    found = of([[0.0] * 5, [1.0] * 5], 2)
    assert found["again"][0] == [0.0] * 5
    assert found["scale"][0] == [0.0] * 3


@pytest.mark.parametrize(("width", "group_size", "groups"), [(300, 128, 3), (7, 4, 2), (5, 8, 1), (128, 128, 1)])
def test_a_row_that_is_no_multiple_of_the_group_has_a_short_last_one(width: int, group_size: int, groups: int) -> None:
    rows = np.random.default_rng(0).normal(size=(3, width)).tolist()
    found = of(rows, group_size)
    assert found["shapes"] == [[3, -(-width // 2)], [3, groups], [3, -(-groups // 2)]] == found["promised"]
    # The short group is quantized by its own weights, as a row of its own would be.
    rest = [row[(groups - 1) * group_size :] for row in rows]
    assert [row[-1] for row in found["scale"]] == [row[0] for row in of(rest, group_size)["scale"]]


numbers = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)


@st.composite
def weights(draw: st.DrawFn) -> list[list[float]]:
    rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 40))
    return draw(st.lists(st.lists(numbers, min_size=width, max_size=width), min_size=rows, max_size=rows))


@settings(max_examples=150, deadline=None)
@given(rows=weights(), group_size=st.integers(1, 24))
def test_no_weight_is_more_than_half_a_step_off(rows: list[list[float]], group_size: int) -> None:
    found = of(rows, group_size)
    w, again = np.array(found["weight"]), np.array(found["again"])
    step = np.repeat(np.array(found["scale"]), group_size, axis=1)[:, : w.shape[1]]
    zero = np.repeat(np.array(found["zero"]), group_size, axis=1)[:, : w.shape[1]]
    assert np.all(np.abs(w - again) <= step / 2 * (1 + 1e-5))
    assert np.array_equal(again, (np.array(found["q"]) - zero) * step)
    assert np.isclose(found["error"], np.linalg.norm(w - again) / (np.linalg.norm(w) or 1), rtol=1e-5, atol=1e-12)
    # No grid of 16 steps that holds 0 and the extremes is finer, but for the rounding of a scale to float16.
    for r, row in enumerate(w):
        for g, first in enumerate(range(0, w.shape[1], group_size)):
            group = row[first : first + group_size]
            span = max(group.max(), 0) - min(group.min(), 0)
            assert span / 15 * (1 - 1e-6) <= found["scale"][r][g] <= span / 15 * (1 + 2**-10) + 2**-24


@settings(max_examples=100, deadline=None)
@given(width=st.integers(1, 33), rows=st.integers(1, 3), data=st.data())
def test_packed_numbers_are_read_again(width: int, rows: int, data: st.DataObject) -> None:
    row = st.lists(st.integers(0, 15), min_size=width, max_size=width)
    values = data.draw(st.lists(row, min_size=rows, max_size=rows))
    found = lab().ask("pack", values=values)
    assert found["again"] == values
    assert all(len(packed) == -(-width // 2) for packed in found["packed"])
    assert all(packed[-1] < 16 for packed in found["packed"] if width % 2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
def test_what_no_scale_reaches_is_refused(bad: float) -> None:
    assert "NaN, infinity or weights beyond" in of([[1.0, bad]], 2)["refused"]


def test_rows_are_quantized_in_blocks_with_the_same_result() -> None:
    assert lab().ask("blocks", block=700)


# ------------------------------------------------------------------ of a model


def test_what_is_made_is_what_it_says(folder: tuple[Path, Trace]) -> None:
    out, trace = folder
    found = made("rtn", trace)
    assert found["types"] == {"INT4 g128": 42, "F16": 14}  # 6 layers of 7; the norms and the embeddings
    assert found["fallbacks"] == ()
    # 4 bits and, for each 128 of them, a float16 and half a byte; the embeddings and norms in 16.
    linear = 6 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 768)
    rest = found["facts"]["n_params"] - linear
    expected = (linear * (4 + 16 / 128 + 4 / 128) + 16 * rest) / found["facts"]["n_params"]
    assert math.isclose(found["bits_per_weight"], expected, rel_tol=1e-12)
    assert found["facts"]["architecture"] == "LlamaForCausalLM"
    assert found["facts"]["size"] == sum(path.stat().st_size for path in out.iterdir())
    assert {path.name for path in out.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert json.loads((out / "config.json").read_text())["quantization_config"]["quant_method"] == "quantfarm_rtn"


def test_the_error_of_each_layer_is_reported(folder: tuple[Path, Trace]) -> None:
    facts = made("rtn", folder[1])["facts"]
    layers = facts["relative_l2_by_layer"]
    assert len(layers) == 42
    assert min(layers.values()) <= facts["relative_l2"] <= max(layers.values())
    # Of a normal distribution, 128 of which span about 5.2 σ: 5.2 / 15 / √12 = 0.1.
    assert 0.08 < facts["relative_l2"] < 0.13


def test_progress_counts_every_tensor(folder: tuple[Path, Trace]) -> None:
    steps = [(event["done"], event["of"]) for event in folder[1].of("progress")]
    assert steps == [(i, 56) for i in range(1, 57)]


def test_the_folder_gives_the_outputs_of_the_model_quantized_in_memory(folder: tuple[Path, Trace]) -> None:
    found = lab().ask("same_outputs", source=str(MODEL), folder=str(folder[0]), group_size=128)
    assert found["equal"] and found["saved"] and found["finite"]
    assert len(found["layers"]) == 42
    assert (found["output"], found["embedding"]) == ("Linear", "Embedding")


def test_the_model_is_nearly_as_good(folder: tuple[Path, Trace], tmp_path: Path) -> None:
    text = str(held_out_text(tmp_path / "text"))
    base, found = (lab().ask("perplexity", folder=str(path), text=text) for path in (MODEL, folder[0]))
    assert found["layers"] == ["QuantLinear"]
    assert found["dtype"] == base["dtype"] == "torch.float16"
    assert 0.98 < found["ppl"] / base["ppl"] < 1.10


def test_odd_rows_biases_shards_and_an_output_layer_of_its_own(tmp_path: Path) -> None:
    source, out = tmp_path / "model", tmp_path / "RTN"
    shape = {"hidden_size": 60, "intermediate_size": 161, "num_attention_heads": 2, "num_key_value_heads": 1}
    lab().ask(
        "model", out=str(source), kind="qwen2", shard="500KB", dtype="bfloat16", tie_word_embeddings=False, **shape
    )
    assert (source / "model.safetensors.index.json").exists()
    found = made("rtn", quantize("rtn", out, "RTN", {"group_size": 64}, source=source))
    again = lab().ask("same_outputs", source=str(source), folder=str(out), group_size=64)
    assert again["equal"] and again["saved"] and again["finite"]
    assert found["types"] == {"INT4 g64": 7, "BF16": 2 + 3 + 3}  # embeddings, output layer; biases; norms
    short = found["facts"]["short_last_groups"]
    assert set(short.values()) == {60, 161 % 64}
    assert found["facts"]["group_size"] == 64


def test_killed_and_begun_again_it_makes_the_same_bytes(folder: tuple[Path, Trace], tmp_path: Path) -> None:
    out = tmp_path / "RTN"
    process = start("rtn", out, "RTN")
    until(process, "progress", 20)
    process.kill()
    finish(process)
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == [f".RTN.{process.pid}.tmp"]
    assert quantize("rtn", out, "RTN").finished
    assert [path.name for path in tmp_path.iterdir()] == ["RTN"]
    assert digests(out) == digests(folder[0])


def test_closing_stdin_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    process = start("rtn", tmp_path / "RTN", "RTN")
    until(process, "progress")
    assert process.stdin and process.stdout
    process.stdin.close()
    assert process.wait(timeout=10) != 0
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    error = error_of(quantize("rtn", tmp_path / "RTN", "RTN", preexec_fn=small_files))
    assert "File too large" in error
    assert f"MiB are free in {tmp_path}" in error
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.99999])
def test_a_truncated_source_is_refused_wherever_it_is_cut(tmp_path: Path, share: float) -> None:
    whole = (MODEL / "model.safetensors").read_bytes()
    source = damaged(MODEL, tmp_path / "cut", weights=whole[: int(len(whole) * share)])
    error = error_of(quantize("rtn", tmp_path / "RTN", "RTN", source=source))
    assert "model.safetensors is" in error
    assert "truncated" in error or "no safetensors" in error
    assert f"{int(len(whole) * share)} bytes" in error
    assert [path.name for path in tmp_path.iterdir()] == ["cut"]


def test_a_source_that_is_quantized_already_is_refused(folder: tuple[Path, Trace], tmp_path: Path) -> None:
    error = error_of(quantize("rtn", tmp_path / "RTN", "RTN", source=folder[0]))
    assert "quantized already (quantfarm_rtn)" in error


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / "model" / name).write_bytes((MODEL / name).read_bytes())
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    error = error_of(quantize("rtn", tmp_path / "RTN", "RTN", source=tmp_path / "model"))
    assert "no weights as safetensors" in error


def test_a_config_that_is_no_json_is_one_message(tmp_path: Path) -> None:
    source = damaged(MODEL, tmp_path / "model", config=b"{")
    assert "config.json" in error_of(quantize("rtn", tmp_path / "RTN", "RTN", source=source))


@pytest.mark.parametrize("size", [0, 1, 5000, "wide"])
def test_a_group_that_cannot_be_is_refused_before_anything_runs(size: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="group_size is a whole number from 2 to 4096"):
        start("rtn", tmp_path / "RTN", "RTN", {"group_size": size})


def test_an_architecture_that_it_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    quantizer = Rtn()
    assert quantizer.obstacle({"architecture": "LlamaForCausalLM"}) == ""
    assert "WhisperForConditionalGeneration" in quantizer.obstacle({"architecture": "WhisperForConditionalGeneration"})
    assert "names none" in quantizer.obstacle({"architecture": ""})
    lab()  # with its environment made, transformers' own tables are read
    assert "Conv1D" in quantizer.obstacle({"architecture": "GPT2LMHeadModel"})
    monkeypatch.setattr(Rtn, "packages", lambda _: None)
    assert quantizer.obstacle({"architecture": "Qwen3ForCausalLM"}) == ""
    assert "does not do Made" in quantizer.obstacle({"architecture": "MadeUpForCausalLM"})
