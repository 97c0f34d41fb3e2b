"""quantfarm-native answers as the Python runner does: the same events, the same figures, the same refusals."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from quantfarm.runtimes.events import parse
from tests import native
from tests.running import Ran, llama_cpp, run

pytestmark = pytest.mark.timeout(2400)  # a first build

CODE = b"def f(x):\n    return [x + i for i in range(10)]\n\n"
BENCH: dict[str, Any] = {"n_prompt": 64, "n_gen": 16, "n_depth": 32, "repetitions": 3}
NOWHERE = "/nowhere/model.gguf"

Ask = Callable[..., Ran]


@pytest.fixture(scope="session")
def program() -> str:
    return str(native.built(native.PHONE)["quantfarm-native"])


@pytest.fixture(scope="module")
def ask(program: str) -> Ask:
    return lambda kind, model, **parameters: run([program, *native.request(kind, model, **parameters)])


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of more than 1024 tokens of any tokenizer, with a little variety."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(b"".join(CODE.replace(b"10", str(n).encode()) for n in range(200)))
    return path


@pytest.fixture(scope="module")
def bench(ask: Ask, reference: Path) -> Ran:
    return ask("bench", reference, **BENCH)


@pytest.fixture(scope="module")
def app(ask: Ask, reference: Path) -> Ran:
    return ask("app", reference, n_prompt=32, n_gen=16, repetitions=2)


def failed(ran: Ran) -> dict[str, Any]:
    assert ran.code != 0
    assert ran.end["event"] == "end"
    assert ran.end["ok"] is False
    assert ran.end["error"]
    assert "\n" not in ran.end["error"]
    assert isinstance(ran.end["retryable"], bool)
    return ran.end


# --- the contract of docs/events.md ---


@pytest.fixture(scope="module", params=["bench", "app", "missing", "sampled", "no request"])
def ran(request: pytest.FixtureRequest, program: str, ask: Ask, bench: Ran, app: Ran, reference: Path) -> Ran:
    sampled = [program, "--hz", "10", "--", program, *native.request("bench", reference, **BENCH)]
    answers: dict[str, Callable[[], Ran]] = {
        "bench": lambda: bench,
        "app": lambda: app,
        "missing": lambda: ask("bench", NOWHERE, **BENCH),
        "sampled": lambda: run(sampled),
        "no request": lambda: run([program, "--request", "dance"]),
    }
    return answers[request.param]()


def test_begin_is_first_and_end_is_last_and_each_only_once(ran: Ran) -> None:
    kinds = [event["event"] for event in ran.events]
    assert (kinds[0], kinds[-1]) == ("begin", "end")
    assert kinds.count("begin") == kinds.count("end") == 1


def test_every_line_on_stdout_is_an_event(ran: Ran) -> None:
    assert len(parse(ran.lines).events) == len(ran.lines) > 0


def test_the_exit_status_says_what_the_end_says(ran: Ran) -> None:
    assert (ran.code == 0) is ran.end["ok"]


def test_begin_says_who_speaks_and_what_every_clock_of_the_machine_shows(ran: Ran) -> None:
    begin = ran.events[0]
    assert (begin["schema"], begin["clock"], begin["runner"]) == (1, "monotonic_ns", "llama_native")
    assert {"quantfarm-native", "llama.cpp", "ggml", "cpu"} <= begin["versions"].keys()
    assert begin["system"].startswith("Linux-")
    assert begin["pid"] > 0
    assert abs(begin["clocks"]["wall_ns"] - time.time_ns()) < 3600e9
    assert abs(begin["clocks"]["boottime_ns"] - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) < 3600e9


def test_the_times_of_events_never_go_back(bench: Ran, app: Ran) -> None:
    for one in (bench, app):
        times = [event["t"] for event in one.events]
        assert times == sorted(times)
        assert times[-1] <= time.monotonic_ns()


@pytest.mark.parametrize("options", [[], ["--hz", "10", "--"]])
def test_closing_stdin_stops_the_run(program: str, reference: Path, options: list[str]) -> None:
    asked = native.request("bench", reference, n_prompt=512, n_gen=512, n_depth=0, repetitions=10_000)
    command = [program, *options, program, *asked] if options else [program, *asked]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdin and process.stdout
        while json.loads(process.stdout.readline())["event"] != "warmup":  # it is measuring now
            pass
        process.stdin.close()
        closed = time.monotonic()
        process.wait(timeout=30)
        assert time.monotonic() - closed < 5
        assert process.returncode != 0


def test_a_stdin_that_is_closed_from_the_start_lets_it_not_linger(program: str, reference: Path) -> None:
    asked = native.request("bench", reference, **BENCH | {"repetitions": 10_000})
    began = subprocess.run([program, *asked], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert began.returncode != 0


# --- what is measured ---


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


def test_app_mode_has_the_time_of_every_token_after_the_prompt_was_submitted(app: Ran) -> None:
    decodes = app.of("decode")
    assert len(decodes) == 2
    for prefill, decode in zip(app.of("prefill"), decodes, strict=True):
        assert len(decode["times"]) == 16
        assert decode["submit"] < decode["times"][0]
        assert all(a < b for a, b in pairwise(decode["times"]))
        assert prefill["seconds"] == pytest.approx((decode["times"][0] - decode["submit"]) / 1e9)


def test_app_mode_s_prompt_is_the_python_runner_s(app: Ran, reference: Path) -> None:
    other = run(llama_cpp("app", reference, n_prompt=32, n_gen=2, repetitions=1))
    for name in ("text_sha256", "token_sha256", "n_tokens", "add_bos"):
        assert app.of("tokens")[0][name] == other.of("tokens")[0][name]


def test_the_model_and_the_settings_in_effect_are_said_as_the_python_runner_does(ask: Ask, reference: Path) -> None:
    asked = {"n_batch": 64, "n_ubatch": 32, "flash_attn": "on", "type_k": "q8_0", "type_v": "q4_0", "threads": 2}
    shape = {"n_prompt": 64, "n_gen": 0, "n_depth": 0, "repetitions": 1}
    ours, theirs = (
        ran.of("loaded")[0]
        for ran in (ask("bench", reference, **shape, **asked), run(llama_cpp("bench", reference, **shape, **asked)))
    )
    assert {name: ours["settings"][name] for name in asked} == asked
    assert ours["settings"] == theirs["settings"]
    assert ours["model"] == theirs["model"]
    assert ours["backend"] == theirs["backend"] == "CPU"


def test_flash_attention_is_off_when_asked_to_be(ask: Ask, reference: Path) -> None:
    ran = ask("bench", reference, n_prompt=16, n_gen=0, n_depth=0, repetitions=1, flash_attn="off")
    assert ran.of("loaded")[0]["settings"]["flash_attn"] == "off"


def test_memory_is_our_own_and_grows_only_in_its_peak(bench: Ran, reference: Path) -> None:
    loaded, end = bench.of("memory")
    assert (loaded["phase"], end["phase"]) == ("loaded", "end")
    assert end["hwm_mib"] >= loaded["hwm_mib"] >= reference.stat().st_size / 2**20
    assert 0 < end["rss_anon_mib"] < end["hwm_mib"]
    assert end["majflt"] >= loaded["majflt"]
    assert end["estimated"] is False


def nlls(ran: Ran) -> list[float]:
    assert ran.end["ok"], ran.end
    return [nll for chunk in ran.of("chunk") for nll in chunk["nll"]]


def perplexity(ran: Ran) -> float:
    found = nlls(ran)
    return math.exp(sum(found) / len(found))


@pytest.mark.parametrize(
    "asked",
    [
        {"n_ctx": 512, "n_batch": 512, "n_chunks": 2},
        {"n_ctx": 128, "n_batch": 512, "n_chunks": 6},  # four chunks at a time, and a rest
        {"n_ctx": 128, "n_batch": 64, "n_chunks": 2},  # a chunk in two parts
    ],
)
def test_perplexity_is_the_python_runner_s(ask: Ask, reference: Path, text: Path, asked: dict[str, int]) -> None:
    """Other kernels of another compiler: the project's limit between backends is 1e-3."""
    ours = ask("quality", reference, text=str(text), **asked)
    theirs = run(llama_cpp("quality", reference, text=str(text), **asked))
    same = ("text_sha256", "token_sha256", "n_tokens", "n_chunks", "n_ctx", "add_bos", "bytes")
    assert {n: ours.of("tokens")[0][n] for n in same} == {n: theirs.of("tokens")[0][n] for n in same}
    assert [(e["index"], e["n"]) for e in ours.of("chunk")] == [(e["index"], e["n"]) for e in theirs.of("chunk")]
    assert perplexity(ours) == pytest.approx(perplexity(theirs), rel=1e-3)
    assert nlls(ours) == pytest.approx(nlls(theirs), abs=0.05)


def test_every_chunk_is_scored_where_no_number_is_given(ask: Ask, reference: Path, text: Path) -> None:
    ran = ask("quality", reference, text=str(text), n_ctx=512, n_batch=512, n_chunks=None)
    tokens = ran.of("tokens")[0]
    assert tokens["n_chunks"] == len(ran.of("chunk")) == tokens["n_tokens"] // 512


@pytest.fixture(scope="module")
def base(reference: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base") / "base.logits"
    ran = run(llama_cpp("logits", reference, text=str(text), n_ctx=128, n_chunks=2, out=str(out)))
    assert ran.end["ok"], ran.end
    return out


def test_divergence_from_a_base_is_the_python_runner_s(
    ask: Ask, reference: Path, text: Path, base: Path, tmp_path: Path
) -> None:
    """From a base that is far away (its rows in reverse), so that what kernels differ by does not matter."""
    data = base.read_bytes()
    head, rows = 20 + 4 * 128 * 2, 63 * 2
    width = (len(data) - head) // rows
    strange = tmp_path / "strange.logits"
    strange.write_bytes(data[:head] + b"".join(data[head + width * i :][:width] for i in reversed(range(rows))))
    asked = {"text": str(text), "n_ctx": 128, "n_chunks": 2, "base_logits": str(strange)}
    ours, theirs = ask("quality", reference, **asked), run(llama_cpp("quality", reference, **asked))
    for one, other in zip(ours.of("chunk"), theirs.of("chunk"), strict=True):
        assert sum(one["kld"]) > 63
        assert one["kld"] == pytest.approx(other["kld"], rel=0.01, abs=0.02)
        assert one["nll_base"] == pytest.approx(other["nll_base"], abs=1e-5)
        assert one["dp"] == pytest.approx(other["dp"], abs=0.01)
        assert abs(one["same_top"] - other["same_top"]) <= 1


def test_divergence_from_itself_is_next_to_nothing(ask: Ask, reference: Path, text: Path, base: Path) -> None:
    ran = ask("quality", reference, text=str(text), n_ctx=128, n_chunks=2, base_logits=str(base))
    for chunk in ran.of("chunk"):
        assert abs(sum(chunk["kld"]) / 63) < 1e-4
        assert chunk["same_top"] >= 61


def test_a_base_that_is_not_the_text_s_is_refused(
    ask: Ask, reference: Path, text: Path, base: Path, tmp_path: Path
) -> None:
    asked = {"n_ctx": 128, "n_chunks": 2}
    other = tmp_path / "other.txt"
    other.write_bytes(b"import os\n" + text.read_bytes())
    cut = tmp_path / "cut.logits"
    cut.write_bytes(base.read_bytes()[:-10])
    for given, file, said in (
        (other, base, "another text"),
        (text, cut, "not whole"),
        (text, text, "no base-logits file"),
        (text, tmp_path / "absent", "cannot be read"),
    ):
        assert said in failed(ask("quality", reference, text=str(given), base_logits=str(file), **asked))["error"]


# --- refusals ---


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "dance"}, "bench, app, quality"),
        ({"threads": None}, "threads"),
        ({"threads": 0}, "threads"),
        ({"type_k": "f17"}, "'f17'"),
        ({"flash_attn": "perhaps"}, "'perhaps'"),
        ({"n_prompt": "many"}, "n_prompt"),
        ({"model": 7}, "model"),
        ({"temperature": 1}, "'temperature'"),
    ],
)
def test_a_wrong_request_fails_naming_what_is_wrong(
    program: str, reference: Path, change: dict[str, Any], said: str
) -> None:
    right = json.loads(native.request("bench", reference, n_prompt=16, n_gen=0, n_depth=0, repetitions=1)[1])
    end = failed(run([program, "--request", json.dumps(right | change)]))
    assert end["stage"] == "request"
    assert said in end["error"]


def test_layers_on_a_gpu_that_is_not_there_fail_the_cell(ask: Ask, reference: Path) -> None:
    end = failed(ask("bench", reference, **BENCH, n_gpu_layers=99))
    assert end["stage"] == "load"
    assert "99 layers" in end["error"]


def test_a_context_that_llama_cpp_refuses_fails_with_its_own_reason(ask: Ask, reference: Path) -> None:
    end = failed(ask("bench", reference, **BENCH, flash_attn="off", type_v="q8_0"))
    assert end["stage"] == "load"
    assert "V cache" in end["error"]


def test_a_truncated_model_fails_at_loading(ask: Ask, reference: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(reference.read_bytes()[: reference.stat().st_size // 2])
    end = failed(ask("bench", broken, **BENCH))
    assert end["stage"] == "load"
    assert "not within the file bounds" in end["error"]


def test_a_model_that_is_none_or_not_there_fails_at_loading(ask: Ask, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK\x03\x04" * 1000)
    assert failed(ask("bench", other, **BENCH))["stage"] == "load"
    assert "no model file" in failed(ask("bench", NOWHERE, **BENCH))["error"]


def test_memory_that_is_not_to_be_had_fails_at_loading(program: str, reference: Path) -> None:
    """A million tokens of KV cache are 3 GiB; the process may have 2."""
    asked = [program, *native.request("bench", reference, **BENCH | {"n_prompt": 2**20})]
    end = failed(run(["sh", "-c", 'ulimit -v 2097152 && exec "$@"', "sh", *asked]))
    assert end["stage"] == "load"
    assert "alloc" in end["error"]


def test_a_text_that_is_too_short_or_not_there_is_named(ask: Ask, reference: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("def f(): pass\n" * 5)
    assert "at least 1024" in failed(ask("quality", reference, text=str(short), n_ctx=512, n_chunks=1))["error"]
    absent = failed(ask("quality", reference, text=str(tmp_path / "absent.txt"), n_ctx=512, n_chunks=1))
    assert "absent.txt" in absent["error"]


def test_a_text_that_is_not_the_one_asked_for_is_refused(ask: Ask, reference: Path, text: Path) -> None:
    asked = {"text": str(text), "n_ctx": 128, "n_chunks": 1}
    right = hashlib.sha256(text.read_bytes()).hexdigest()
    assert ask("quality", reference, **asked, text_sha256=right).end["ok"]
    assert f"has sha256 {right}" in failed(ask("quality", reference, **asked, text_sha256="0" * 64))["error"]


def test_a_batch_that_is_no_multiple_of_the_chunk_is_refused(ask: Ask, reference: Path, text: Path) -> None:
    assert "multiple" in failed(ask("quality", reference, text=str(text), n_ctx=128, n_batch=192))["error"]


def test_without_a_request_it_says_how_it_is_used(program: str) -> None:
    said = subprocess.run([program], capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "usage: quantfarm-native" in said.stderr


# --- processors that it was not built for ---


@pytest.mark.parametrize(
    ("platform", "architecture", "lesser", "lacks"),
    [
        ("android-x86_64", "x86_64", "Nehalem", "AVX"),
        ("android-arm64", "aarch64", "cortex-a72", "this CPU lacks"),
    ],
)
def test_a_processor_that_lacks_what_the_build_needs_is_told(
    platform: str, architecture: str, lesser: str, lacks: str
) -> None:
    program = native.built(platform)["quantfarm-native"]
    under = native.emulator(architecture, "-cpu", lesser)
    end = failed(run([*under, str(program), *native.request("bench", NOWHERE, **BENCH)]))
    assert end["stage"] == "start"
    assert lacks in end["error"]


def test_on_an_emulated_phone_the_perplexity_is_the_same(reference: Path, text: Path) -> None:
    """Correctness alone: an emulator's speed is nobody's."""
    program = str(native.built("android-arm64")["quantfarm-native"])
    asked = {"text": str(text), "n_ctx": 64, "n_batch": 64, "n_chunks": 2}
    under = native.emulator("aarch64") if native.PHONE != "android-arm64" else []
    ours = run([*under, program, *native.request("quality", reference, **asked)])
    theirs = run(llama_cpp("quality", reference, **asked))
    assert ours.of("tokens")[0]["token_sha256"] == theirs.of("tokens")[0]["token_sha256"]
    assert perplexity(ours) == pytest.approx(perplexity(theirs), rel=1e-3)
    assert "aarch64" in ours.events[0]["system"]


def test_each_repetition_of_a_bench_says_when_it_ended(ask: Ask, reference: Path) -> None:
    """So that what the device's sensors read can be joined to it: the events are all written at the end."""
    ran = ask("bench", reference, **BENCH)
    for phase in ("prefill", "decode"):
        ends = [event["until"] for event in ran.of(phase)]
        assert len(ends) == BENCH["repetitions"]
        assert all(a < b for a, b in pairwise(ends))
        assert ends[-1] <= ran.of(phase)[0]["t"]
