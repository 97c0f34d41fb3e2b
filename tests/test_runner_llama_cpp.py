"""The llama.cpp runner does what is asked with the settings that are asked, or says why not."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.running import Ran, llama_cpp, run

CODE = b"def f(x):\n    return [x + i for i in range(10)]\n\n"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of more than 1024 tokens of any tokenizer, with a little variety."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(b"".join(CODE.replace(b"10", str(n).encode()) for n in range(200)))
    return path


@pytest.fixture(scope="module")
def bench(reference: Path) -> Ran:
    return run(llama_cpp("bench", reference, n_prompt=64, n_gen=16, n_depth=32, repetitions=3))


@pytest.fixture(scope="module")
def app(reference: Path) -> Ran:
    return run(llama_cpp("app", reference, n_prompt=32, n_gen=16, repetitions=2))


def quality(model: Path, text: Path, **parameters: Any) -> Ran:
    return run(llama_cpp("quality", model, **({"text": str(text), "n_ctx": 128, "n_chunks": 2} | parameters)))


def failed(ran: Ran) -> dict[str, Any]:
    """The end of a run that failed as a runner should: one line saying why, and a status that says so too."""
    assert ran.code != 0
    assert ran.end["event"] == "end"
    assert ran.end["ok"] is False
    assert ran.end["error"]
    assert "\n" not in ran.end["error"]
    assert isinstance(ran.end["retryable"], bool)
    assert "Traceback" not in ran.stderr
    return ran.end


def test_a_bench_times_every_repetition_of_prompt_and_generation(bench: Ran) -> None:
    assert bench.code == 0
    for kind, tokens in (("prefill", 64), ("decode", 16)):
        found = bench.of(kind)
        assert [e["repetition"] for e in found] == [0, 1, 2]
        assert {(e["mode"], e["tokens"], e["depth"]) for e in found} == {("bench", tokens, 32)}
        assert all(e["seconds"] > 0 for e in found)


def test_a_bench_warms_up_before_each_of_its_tests(bench: Ran) -> None:
    kinds = [e["event"] for e in bench.events if e["event"] in ("warmup", "prefill", "decode")]
    assert kinds == ["warmup"] + ["prefill"] * 3 + ["warmup"] + ["decode"] * 3


def test_a_bench_without_generation_times_the_prompt_alone(reference: Path) -> None:
    ran = run(llama_cpp("bench", reference, n_prompt=32, n_gen=0, n_depth=0, repetitions=1))
    assert len(ran.of("prefill")) == 1
    assert ran.of("decode") == []


def test_a_prompt_longer_than_a_batch_is_fed_in_batches(reference: Path) -> None:
    ran = run(llama_cpp("bench", reference, n_prompt=100, n_gen=0, n_depth=0, repetitions=1, n_batch=32, n_ubatch=32))
    assert ran.end["ok"]
    assert ran.of("loaded")[0]["settings"]["n_batch"] == 32


def test_app_mode_has_the_time_of_every_token_after_the_prompt_was_submitted(app: Ran) -> None:
    decodes = app.of("decode")
    assert len(decodes) == 2
    for prefill, decode in zip(app.of("prefill"), decodes, strict=True):
        assert len(decode["times"]) == 16
        assert decode["submit"] < decode["times"][0]
        assert all(a < b for a, b in pairwise(decode["times"]))
        assert prefill["seconds"] == pytest.approx((decode["times"][0] - decode["submit"]) / 1e9)


def test_app_mode_generates_no_more_after_its_context_than_was_asked_even_past_an_end_of_text(app: Ran) -> None:
    assert {len(e["times"]) for e in app.of("decode")} == {16}
    assert app.of("tokens")[0]["n_tokens"] == 32


def test_loading_and_tokenising_are_timed_apart(app: Ran) -> None:
    loaded = app.of("loaded")[0]
    assert loaded["seconds"] == pytest.approx(loaded["model_seconds"] + loaded["context_seconds"])
    assert app.of("tokens")[0]["seconds"] > 0


def test_the_settings_in_effect_are_read_back(reference: Path) -> None:
    asked = {"n_batch": 64, "n_ubatch": 32, "flash_attn": "on", "type_k": "q8_0", "type_v": "q4_0", "threads": 2}
    ran = run(llama_cpp("bench", reference, n_prompt=64, n_gen=0, n_depth=0, repetitions=1, **asked))
    loaded = ran.of("loaded")[0]
    assert {name: loaded["settings"][name] for name in asked} == asked
    assert loaded["settings"]["n_gpu_layers"] == 0
    assert loaded["backend"] == "CPU"


def test_flash_attention_is_off_when_asked_to_be(reference: Path) -> None:
    ran = run(llama_cpp("bench", reference, n_prompt=16, n_gen=0, n_depth=0, repetitions=1, flash_attn="off"))
    assert ran.of("loaded")[0]["settings"]["flash_attn"] == "off"


def test_the_model_is_described_from_the_file(bench: Ran, reference: Path) -> None:
    model = bench.of("loaded")[0]["model"]
    assert 4e6 < model["n_params"] < 8e6
    assert 0.9 < model["size"] / reference.stat().st_size < 1
    assert model["n_vocab"] > 0
    assert "F16" in model["description"]


def test_memory_is_our_own_and_grows_only_in_its_peak(bench: Ran, reference: Path) -> None:
    loaded, end = bench.of("memory")
    assert (loaded["phase"], end["phase"]) == ("loaded", "end")
    assert end["hwm_mib"] >= loaded["hwm_mib"] >= reference.stat().st_size / 2**20
    assert 0 < end["rss_anon_mib"] < end["hwm_mib"]


def test_layers_on_a_gpu_that_is_not_there_fail_the_cell(reference: Path) -> None:
    ran = run(llama_cpp("bench", reference, n_prompt=16, n_gen=0, n_depth=0, repetitions=1, n_gpu_layers=99))
    if ran.code == 0 and "CPU" not in ran.of("loaded")[0]["backend"].split("+"):
        pytest.skip("this llama.cpp has a GPU backend")
    end = failed(ran)
    assert end["stage"] == "load"
    assert "99 layers" in end["error"]


def test_a_context_that_llama_cpp_refuses_fails_with_its_own_reason(reference: Path) -> None:
    asked = {"flash_attn": "off", "type_v": "q8_0"}  # a quantised V cache needs flash attention
    ran = run(llama_cpp("bench", reference, n_prompt=16, n_gen=0, n_depth=0, repetitions=1, **asked))
    end = failed(ran)
    assert end["stage"] == "load"
    assert "V cache" in end["error"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "dance"}, "bench, app, quality, logits"),
        ({"threads": None}, "threads"),
        ({"type_k": "f17"}, "'f17'"),
        ({"flash_attn": "perhaps"}, "'perhaps'"),
        ({"n_prompt": "many"}, "n_prompt"),
    ],
)
def test_a_wrong_request_fails_naming_what_is_wrong(reference: Path, change: dict[str, Any], said: str) -> None:
    asked: dict[str, Any] = {"n_prompt": 16, "n_gen": 0, "n_depth": 0, "repetitions": 1} | change
    end = failed(run(llama_cpp(asked.pop("kind", "bench"), reference, **asked)))
    assert end["stage"] == "request"
    assert said in end["error"]


def test_a_truncated_model_fails_at_loading(reference: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(reference.read_bytes()[: reference.stat().st_size // 2])
    end = failed(run(llama_cpp("bench", broken, n_prompt=16, n_gen=0, n_depth=0, repetitions=1)))
    assert end["stage"] == "load"
    assert "not within the file bounds" in end["error"]


def test_a_file_that_is_no_gguf_fails_at_loading(tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK\x03\x04" * 1000)
    assert failed(run(llama_cpp("bench", other, n_prompt=16, n_gen=0, n_depth=0, repetitions=1)))["stage"] == "load"


def test_memory_that_is_not_to_be_had_fails_at_loading(reference: Path) -> None:
    """A million tokens of KV cache are 3 GiB; the process may have 2."""
    asked = llama_cpp("bench", reference, n_prompt=2**20, n_gen=0, n_depth=0, repetitions=1)
    limited = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31)); "
    end = failed(run([sys.executable, "-c", limited + "os.execv(sys.argv[1], sys.argv[1:])", *asked]))
    assert end["stage"] == "load"
    assert "alloc" in end["error"]


def test_a_text_too_short_for_perplexity_says_how_many_tokens_it_has(reference: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("def f(): pass\n" * 5)
    end = failed(quality(reference, short, n_ctx=512))
    assert "at least 1024" in end["error"]
    assert " tokens" in end["error"]


def test_a_missing_text_fails_naming_it(reference: Path, tmp_path: Path) -> None:
    assert "absent.txt" in failed(quality(reference, tmp_path / "absent.txt"))["error"]


def test_each_chunk_scores_the_second_half_of_its_window(reference: Path, text: Path) -> None:
    ran = quality(reference, text, n_ctx=512, n_batch=512, n_chunks=2)
    assert [(e["index"], e["n"], len(e["nll"])) for e in ran.of("chunk")] == [(0, 255, 255), (1, 255, 255)]
    assert all(nll > 0 for e in ran.of("chunk") for nll in e["nll"])


def test_a_batch_that_is_no_multiple_of_the_chunk_is_refused(reference: Path, text: Path) -> None:
    assert "multiple" in failed(quality(reference, text, n_batch=192))["error"]


@pytest.mark.parametrize("n_batch", [64, 256])
def test_how_chunks_are_batched_does_not_change_their_score(reference: Path, text: Path, n_batch: int) -> None:
    one, other = (quality(reference, text, n_batch=n, n_ubatch=512, n_chunks=3) for n in (128, n_batch))
    for a, b in zip(one.of("chunk"), other.of("chunk"), strict=True):
        assert a["nll"] == pytest.approx(b["nll"], abs=1e-2)


def test_only_one_trailing_newline_of_the_text_is_left_out(reference: Path, text: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.txt"
    more.write_bytes(text.read_bytes().rstrip(b"\n") + b"\n")
    bare = tmp_path / "bare.txt"
    bare.write_bytes(text.read_bytes().rstrip(b"\n"))
    counts = [quality(reference, path).of("tokens")[0]["n_tokens"] for path in (more, bare)]
    assert counts[0] == counts[1]


@pytest.fixture(scope="module")
def base(reference: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base") / "base.logits"
    ran = run(llama_cpp("logits", reference, text=str(text), n_ctx=128, n_chunks=2, out=str(out)))
    assert ran.end["ok"], ran.end
    return out


def test_base_logits_hold_the_tool_s_header_and_the_tokens_that_were_evaluated(base: Path) -> None:
    data = base.read_bytes()
    n_ctx, n_vocab, n_chunks = (int.from_bytes(data[i : i + 4], "little") for i in (8, 12, 16))
    width = 2 * ((n_vocab + 1) // 2) + 4
    assert data[:8] == b"_logits_"
    assert (n_ctx, n_chunks) == (128, 2)
    assert len(data) == 20 + 4 * 128 * 2 + 2 * width * 63 * 2


def test_divergence_needs_the_base_of_the_same_text(reference: Path, text: Path, base: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_bytes(b"import os\n" + text.read_bytes())
    assert "another text" in failed(quality(reference, other, base_logits=str(base)))["error"]


def test_divergence_needs_a_base_of_as_many_chunks(reference: Path, text: Path, base: Path) -> None:
    assert "holds 2 chunks, 3" in failed(quality(reference, text, n_chunks=3, base_logits=str(base)))["error"]


def test_divergence_from_fewer_chunks_than_the_base_holds_is_of_its_first(
    reference: Path, text: Path, base: Path
) -> None:
    one, two = (quality(reference, text, n_chunks=n, base_logits=str(base)).of("chunk") for n in (1, 2))
    assert one[0]["kld"] == two[0]["kld"]


def test_a_base_cut_short_is_not_whole(reference: Path, text: Path, base: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.logits"
    cut.write_bytes(base.read_bytes()[:-10])
    assert "not whole" in failed(quality(reference, text, base_logits=str(cut)))["error"]


def test_a_file_that_is_no_base_is_refused(reference: Path, text: Path) -> None:
    assert "no base-logits file" in failed(quality(reference, text, base_logits=str(text)))["error"]


def test_base_logits_that_cannot_be_written_fail_and_leave_nothing(reference: Path, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "absent" / "base.logits"
    ran = run(llama_cpp("logits", reference, text=str(text), n_ctx=128, n_chunks=2, out=str(out)))
    assert "cannot be written" in failed(ran)["error"]
    assert list(tmp_path.iterdir()) == []


def test_base_logits_that_were_cut_off_leave_nothing(reference: Path, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "base.logits"
    command = llama_cpp("logits", reference, text=str(text), n_ctx=128, n_chunks=None, out=str(out))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdin and process.stdout
        while json.loads(process.stdout.readline())["event"] != "chunk":
            pass
        process.stdin.close()
        process.wait(timeout=10)
    assert process.returncode != 0
    assert list(tmp_path.iterdir()) == []


def test_the_times_of_events_never_go_back(app: Ran, bench: Ran) -> None:
    for ran in (app, bench):
        times = [event["t"] for event in ran.events]
        assert times == sorted(times)
        assert times[-1] <= time.monotonic_ns()
