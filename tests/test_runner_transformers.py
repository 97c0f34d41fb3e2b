"""The transformers runner does what is asked with the settings that are asked, or says why not."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from quantfarm import metrics
from quantfarm.runtimes import runtime
from quantfarm.runtimes.events import parse
from tests.folders import MODEL, changed, command, good, python, ran
from tests.running import RUNNERS, Ran, run
from tests.test_runner_llama_cpp import failed

BENCH = {"n_prompt": 24, "n_gen": 4, "n_depth": 8, "repetitions": 2}


@pytest.fixture(scope="module")
def bench() -> Ran:
    return good("transformers", "bench", format="hf", n_ubatch=16, **BENCH)


@pytest.fixture(scope="module")
def batch() -> Ran:
    return good("transformers", "batch", format="hf", batch=4, n_prompt=8, n_gen=6, repetitions=2)


def test_a_bench_times_every_repetition_of_prompt_and_generation_at_its_depth(bench: Ran) -> None:
    for kind, tokens in (("prefill", 24), ("decode", 4)):
        found = bench.of(kind)
        assert [e["repetition"] for e in found] == [0, 1]
        assert {(e["mode"], e["tokens"], e["depth"]) for e in found} == {("bench", tokens, 8)}
        assert all(e["seconds"] > 0 for e in found)


def test_a_bench_gives_llama_bench_s_figures(bench: Ran) -> None:
    found = {m.metric for m in metrics.measure(parse(bench.lines))}
    assert {"bench_pp", "bench_tg", "load_time", "resident_peak"} <= found


def test_app_mode_has_the_time_of_every_token() -> None:
    app = good("transformers", "app", format="hf", n_prompt=40, n_gen=6, repetitions=1, n_ubatch=16)
    decode = app.of("decode")[0]
    assert len(decode["times"]) == 6
    assert decode["submit"] < decode["times"][0]
    assert all(a < b for a, b in pairwise(decode["times"]))
    assert app.of("tokens")[0]["n_tokens"] == 40


def test_a_batch_counts_the_tokens_of_all_its_prompts_after_the_first_of_each(batch: Ran) -> None:
    found = batch.of("batch")
    assert [e["repetition"] for e in found] == [0, 1]
    assert {(e["batch"], e["tokens"], e["depth"]) for e in found} == {(4, 4 * 5, 8)}
    assert all(e["seconds"] > 0 and e["prefill_seconds"] > 0 for e in found)


def test_the_settings_the_backend_and_the_versions_in_effect_are_said(bench: Ran) -> None:
    loaded = bench.of("loaded")[0]
    assert loaded["backend"] == "CPU"
    asked = {"n_batch": 2048, "n_ubatch": 16, "flash_attn": "on", "threads": 1, "n_gpu_layers": 0}
    assert {name: loaded["settings"][name] for name in asked} == asked
    assert (loaded["settings"]["attention"], loaded["settings"]["compute"]) == ("sdpa", "float16")
    assert 5e6 < loaded["model"]["n_params"] < 7e6
    assert f"transformers {bench.of('begin')[0]['versions']['transformers']}" == runtime("transformers").build()


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference model rounded to nearest by our own quantizer."""
    out = tmp_path_factory.mktemp("rtn") / "rtn"
    asked = {"kind": "quantize", "source": str(MODEL), "out": str(out), "quant": "RTN", "options": {"group_size": 64}}
    made = [str(python("transformers")), "-P", str(RUNNERS / "quantize_rtn.py"), "--request", json.dumps(asked)]
    assert run(made).end["ok"]
    return out


def test_a_folder_of_our_own_rounding_is_held_packed_and_counted_as_published(quantized: Path) -> None:
    done = good("transformers", "batch", quantized, format="rtn", batch=1, n_prompt=8, n_gen=3, repetitions=1,
                quant_linear=RUNNERS / "quant_linear.py")  # fmt: skip
    model = done.of("loaded")[0]["model"]
    assert 5e6 < model["n_params"] < 7e6
    assert model["size"] < 0.5 * (MODEL / "model.safetensors").stat().st_size
    assert done.of("loaded")[0]["settings"]["weights"] == "as stored"


def test_a_run_whose_lifeline_is_cut_ends_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    asked = command("transformers", "bench", n_prompt=64, n_gen=64, n_depth=0, repetitions=100_000)
    pipe = subprocess.PIPE
    with subprocess.Popen(asked, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdin and process.stdout
        while json.loads(process.stdout.readline())["event"] != "warmup":
            pass
        process.stdin.close()
        process.wait(timeout=10)
    assert process.returncode != 0
    assert not list(tmp_path.glob("quantfarm*"))


@pytest.mark.parametrize(
    ("change", "stage", "said"),
    [
        ({"kind": "dance"}, "request", "bench, app"),
        ({"threads": ...}, "request", "threads"),
        ({"n_keep": 3}, "request", "no parameter 'n_keep'"),
        ({"type_v": "q4_0"}, "request", "'q4_0'"),
        ({"flash_attn": "perhaps"}, "request", "'perhaps'"),
        ({"format": "rtn"}, "load", "the format rtn was asked for"),
        ({"format": "gguf"}, "load", "the format gguf was asked for"),
        ({"model": "/nowhere"}, "load", "there is no model folder"),
    ],
)
def test_a_wrong_request_fails_naming_what_is_wrong(change: dict[str, Any], stage: str, said: str) -> None:
    asked: dict[str, Any] = {**BENCH, "kind": "bench", "model": MODEL} | change
    end = failed(ran("transformers", asked.pop("kind"), asked.pop("model"), **asked))
    assert end["stage"] == stage
    assert said in end["error"]


def test_cuda_that_is_not_there_fails_the_cell() -> None:
    done = ran("transformers", "bench", **BENCH, device="cuda", n_gpu_layers=-1)
    if done.code == 0 and done.of("loaded")[0]["backend"].startswith("CUDA"):
        pytest.skip("this machine has CUDA")
    assert "a GPU was asked for" in failed(done)["error"]


def test_an_architecture_that_transformers_does_not_know_fails_at_loading(tmp_path: Path) -> None:
    folder = changed(MODEL, tmp_path / "m", model_type="no_such_model", architectures=["NoSuchModel"])
    end = failed(ran("transformers", "bench", folder, **BENCH))
    assert end["stage"] == "load"
    assert "no_such_model" in end["error"]


def test_weights_that_are_not_all_there_fail_rather_than_being_random(tmp_path: Path) -> None:
    folder = changed(MODEL, tmp_path / "m", num_hidden_layers=7)
    end = failed(ran("transformers", "bench", folder, **BENCH))
    assert end["stage"] == "load"
    assert "lack" in end["error"] and "layers.6" in end["error"]
