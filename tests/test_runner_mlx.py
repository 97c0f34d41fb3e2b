"""The MLX runner does what is asked with the settings that are asked, or says why not."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from quantfarm import metrics
from quantfarm.metrics.speed import decode_rate
from quantfarm.runtimes import runtime
from quantfarm.runtimes.events import parse
from tests.folders import MODEL, changed, command, good, python, ran
from tests.running import CONTEXT, ROOT, RUNNERS, Ran
from tests.test_runner_llama_cpp import failed

BENCH = {"n_prompt": 24, "n_gen": 4, "n_depth": 8, "repetitions": 2}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(f"def f(x):\n    return [x + i for i in range({n})]\n\n" for n in range(100)))
    return path


@pytest.fixture(scope="module")
def bench() -> Ran:
    return good("mlx", "bench", format="hf", n_ubatch=16, **BENCH)


@pytest.fixture(scope="module")
def app() -> Ran:
    return good("mlx", "app", format="hf", n_prompt=16, n_gen=8, repetitions=2)


def test_a_bench_times_every_repetition_of_prompt_and_generation_at_its_depth(bench: Ran) -> None:
    for kind, tokens in (("prefill", 24), ("decode", 4)):
        found = bench.of(kind)
        assert [e["repetition"] for e in found] == [0, 1]
        assert {(e["mode"], e["tokens"], e["depth"]) for e in found} == {("bench", tokens, 8)}
        assert all(e["seconds"] > 0 for e in found)
    kinds = [e["event"] for e in bench.events if e["event"] in ("warmup", "prefill", "decode")]
    assert kinds == ["warmup", "prefill", "prefill", "warmup", "decode", "decode"]


def test_a_bench_gives_llama_bench_s_figures(bench: Ran) -> None:
    assert {"bench_pp", "bench_tg", "load_time", "resident_peak"} <= {
        m.metric for m in metrics.measure(parse(bench.lines))
    }


def test_app_mode_has_the_time_of_every_token_and_does_not_stop_at_the_end_of_a_text(app: Ran) -> None:
    decodes = app.of("decode")
    assert len(decodes) == 2
    for prefill, decode in zip(app.of("prefill"), decodes, strict=True):
        assert len(decode["times"]) == 8
        assert decode["submit"] < decode["times"][0]
        assert all(a < b for a, b in pairwise(decode["times"]))
        assert prefill["seconds"] == pytest.approx((decode["times"][0] - decode["submit"]) / 1e9)
    assert app.of("tokens")[0]["n_tokens"] == 16


def test_decode_is_mlx_lm_s_own_generation_rate_but_for_its_first_token() -> None:
    """METHOD §6, check 4: theirs is N/(t_N - t_1), so it is ours after × (N-1)/N; within 0.5 %. On one clock."""
    n, request = 24, {**CONTEXT, "kind": "app", "device": "cpu", "compute": "model", "model": str(MODEL)}
    script = [str(python("mlx")), "-P", str(ROOT / "tests" / "mlx_rate.py")]
    asked = [*script, str(runtime("mlx").runner), json.dumps(request), str(n)]
    found = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    ours, theirs = found["ours"], found["theirs"]
    assert ours["tokens"] == theirs["tokens"]
    assert len(ours["times"]) == n
    assert decode_rate(ours["times"]) == pytest.approx(theirs["generation_tps"] * (n - 1) / n, rel=5e-3)
    assert ours["n_prompt"] / ((ours["times"][0] - ours["submit"]) / 1e9) == pytest.approx(
        theirs["prompt_tps"], rel=5e-3
    )


def test_the_settings_and_the_backend_in_effect_are_said(bench: Ran) -> None:
    loaded = bench.of("loaded")[0]
    assert loaded["backend"] == "CPU"
    asked = {"n_batch": 2048, "n_ubatch": 16, "flash_attn": "on", "threads": 1, "n_gpu_layers": 0}
    assert {name: loaded["settings"][name] for name in asked} == asked
    assert loaded["settings"]["compute"] == "float16"  # as the model is published
    assert loaded["settings"]["type_k"] == "f16"
    assert 5e6 < loaded["model"]["n_params"] < 7e6
    assert loaded["model"]["size"] == pytest.approx((MODEL / "model.safetensors").stat().st_size, rel=0.01)


def test_versions_and_the_memory_of_mlx_stand_beside_the_process_s_own(bench: Ran) -> None:
    assert f"mlx-lm {bench.of('begin')[0]['versions']['mlx-lm']}" == runtime("mlx").build()
    loaded, end = bench.of("memory")
    assert (loaded["phase"], end["phase"]) == ("loaded", "end")
    assert end["hwm_mib"] >= loaded["hwm_mib"] > end["mlx_peak_mib"] > 10  # 11 MiB of weights


def test_nothing_of_the_model_s_folder_of_links_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert good("mlx", "tokens", n_ctx=8, text=MODEL / "tokenizer_config.json").of("tokens")[0]["add_bos"]
    assert list(tmp_path.iterdir()) == []


def test_base_logits_that_were_cut_off_leave_nothing(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    asked = command("mlx", "logits", text=text, n_ctx=128, out=tmp_path / "base.logits")
    pipe = subprocess.PIPE
    with subprocess.Popen(asked, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdin and process.stdout
        while json.loads(process.stdout.readline())["event"] != "chunk":
            pass
        process.stdin.close()
        process.wait(timeout=10)
    assert process.returncode != 0
    assert [path for path in tmp_path.iterdir() if path.name != "mlx"] == []  # MLX keeps its kernels there


def test_chunks_computed_in_parts_score_the_same(text: Path) -> None:
    """A micro-batch of less than a chunk goes through the KV cache, one of more takes several chunks at once."""
    asked: dict[str, Any] = {"text": text, "n_ctx": 64, "n_chunks": 3, "compute": "float32"}
    one, other = (good("mlx", "quality", **asked, n_ubatch=n).of("chunk") for n in (24, 128))
    assert len(one) == len(other) == 3
    for a, b in zip(one, other, strict=True):
        assert a["nll"] == pytest.approx(b["nll"], abs=1e-4)


def test_sustained_runs_go_on_back_to_back() -> None:
    sizes = {"n_prompt": 8, "n_gen": 3, "runs": 3, "more": 1, "most": 4}
    done = good("mlx", "sustained", **sizes, extension=RUNNERS / "llama_cpp_sustained.py")
    assert [e["repetition"] for e in done.of("decode")] == [0, 1, 2, 3]  # fewer than 10 are never steady
    assert done.of("progress")[-1]["done"] == 4


@pytest.mark.parametrize(
    ("change", "stage", "said"),
    [
        ({"kind": "dance"}, "request", "bench, app"),
        ({"threads": ...}, "request", "threads"),
        ({"n_keep": 3}, "request", "no parameter 'n_keep'"),
        ({"type_k": "q8_0"}, "request", "'q8_0'"),
        ({"flash_attn": "off"}, "request", "'off'"),
        ({"compute": "float64"}, "request", "'float64'"),
        ({"n_prompt": "many"}, "request", "n_prompt"),
        ({"device": "tpu"}, "request", "'tpu'"),
        ({"format": "mlx"}, "load", "the format mlx was asked for"),
        ({"n_gpu_layers": 3}, "load", "3 of 6 layers"),
        ({"model": {"../config.json": "/etc/passwd"}}, "load", "a model folder holds"),
        ({"model": {"config.json": "/x", "a.safetensors": "/y", "../b": "/z"}}, "load", "there is no model file /x"),
    ],
)
def test_a_wrong_request_fails_naming_what_is_wrong(change: dict[str, Any], stage: str, said: str) -> None:
    asked: dict[str, Any] = {**BENCH, "kind": "bench", "model": MODEL} | change
    end = failed(ran("mlx", asked.pop("kind"), asked.pop("model"), **asked))
    assert end["stage"] == stage
    assert said in end["error"]


def test_a_gpu_that_is_not_there_fails_the_cell() -> None:
    done = ran("mlx", "bench", **BENCH, device="gpu", n_gpu_layers=-1)
    if done.code == 0 and done.of("loaded")[0]["backend"] != "CPU":
        pytest.skip("this MLX has a GPU")
    assert "a GPU was asked for" in failed(done)["error"]


def test_an_architecture_that_mlx_lm_does_not_know_fails_at_loading(tmp_path: Path) -> None:
    end = failed(ran("mlx", "bench", changed(MODEL, tmp_path / "m", model_type="no_such_model"), **BENCH))
    assert end["stage"] == "load"
    assert "no_such_model" in end["error"]


def test_code_that_a_model_brings_is_never_run(tmp_path: Path) -> None:
    folder = changed(MODEL, tmp_path / "m", model_file="evil.py")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert "custom" in failed(ran("mlx", "bench", folder, **BENCH))["error"]
    assert not (tmp_path / "ran").exists()


def test_truncated_weights_fail_at_loading(tmp_path: Path) -> None:
    folder = changed(MODEL, tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes((MODEL / "model.safetensors").read_bytes()[:-1000])
    assert failed(ran("mlx", "bench", folder, **BENCH))["stage"] == "load"
