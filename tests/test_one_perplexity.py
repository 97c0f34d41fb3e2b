"""One artifact gives one perplexity in every runtime (METHOD §6, check 1): the same tokens, the same chunks.

Full precision, all computed in float32: the published folder under MLX and transformers, and its F32 GGUF under
llama.cpp with a cache in float32 and no flash attention (which rounds it to float16).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from quantfarm import metrics
from quantfarm.corpus import held_out_text
from quantfarm.runtimes.events import parse
from tests.folders import good
from tests.running import RUNNERS, Ran, command, llama_cpp, run

CHUNKS, N_CTX = 3, 512
PRECISE = {"flash_attn": "off", "type_k": "f32", "type_v": "f32", "n_batch": N_CTX}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "held-out.txt"
    path.write_bytes(held_out_text())
    return path


@pytest.fixture(scope="module")
def f32(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("f32") / "f32.gguf"
    asked = {"source": str(reference), "out": str(out), "quant": "F32", "threads": 1}
    assert run(command("quantize_gguf.py", "--request", json.dumps(asked))).end["ok"]
    return out


def llama(kind: str, model: Path, **parameters: Any) -> Ran:
    done = run(llama_cpp(kind, model, **parameters))
    assert done.end["ok"], done.end
    return done


@pytest.fixture(scope="module")
def measured(f32: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Ran]:
    """The same text under each runtime; MLX writes base logits, and the others are held against them."""
    base = tmp_path_factory.mktemp("base") / "mlx.logits"
    asked: dict[str, Any] = {"text": str(corpus), "n_ctx": N_CTX, "n_chunks": CHUNKS}
    mlx = good("mlx", "logits", format="hf", compute="float32", out=base, **asked)
    other = good("transformers", "quality", format="hf", compute="float32", base_logits=base, **asked)
    peer = llama("quality", f32, base_logits=str(base), **asked, **PRECISE)
    return {"mlx": mlx, "transformers": other, "llama_cpp": peer}


def figures(ran: Ran) -> dict[str, float]:
    return {m.metric: m.value for m in metrics.measure(parse(ran.lines))}


def test_every_runtime_evaluates_the_same_tokens(measured: Mapping[str, Ran]) -> None:
    texts = [ran.of("tokens")[0] for ran in measured.values()]
    for field in ("text_sha256", "token_sha256", "n_tokens", "n_chunks", "n_ctx", "add_bos", "bytes"):
        assert len({text[field] for text in texts}) == 1, field
    assert texts[0]["n_chunks"] == CHUNKS


def test_255_tokens_of_each_chunk_are_scored_in_every_runtime(measured: Mapping[str, Ran]) -> None:
    for ran in measured.values():
        assert [chunk["n"] for chunk in ran.of("chunk")] == [255] * CHUNKS


def test_one_artifact_gives_one_perplexity(measured: Mapping[str, Ran]) -> None:
    found = {name: figures(ran)["ppl"] for name, ran in measured.items()}
    for name in ("mlx", "transformers"):
        assert found[name] == pytest.approx(found["llama_cpp"], rel=1e-5), found


def test_what_was_computed_in_is_among_the_settings_in_effect(measured: Mapping[str, Ran]) -> None:
    for name in ("mlx", "transformers"):
        settings = measured[name].of("loaded")[0]["settings"]
        assert (settings["compute"], settings["type_k"], settings["type_v"]) == ("float32", "f32", "f32")
    assert measured["llama_cpp"].of("loaded")[0]["settings"]["type_k"] == "f32"


def test_no_runtime_diverges_from_the_base_logits_of_another(measured: Mapping[str, Ran]) -> None:
    """The file that MLX wrote is read by transformers' runner and by llama.cpp's: 16 bits a value, no more."""
    for name in ("transformers", "llama_cpp"):
        found = figures(measured[name])
        assert abs(found["kld_mean"]) <= 1e-5, name
        assert found["same_top"] == 100, name


def test_the_usual_settings_of_llama_cpp_are_within_a_thousandth(
    measured: Mapping[str, Ran], reference: Path, corpus: Path
) -> None:
    """F16, flash attention, a cache in float16: what a sweep measures, across backends (METHOD §6)."""
    usual = figures(llama("quality", reference, text=str(corpus), n_ctx=N_CTX, n_chunks=CHUNKS, n_batch=N_CTX))["ppl"]
    assert figures(measured["mlx"])["ppl"] == pytest.approx(usual, rel=1e-3)


def test_one_artifact_gives_one_count_of_bits_per_byte(f32: Path, corpus: Path, tmp_path: Path) -> None:
    """Every token of a text, as lm-eval's loglikelihood_rolling: what models of other tokenizers are compared by."""
    text = tmp_path / "short.txt"
    text.write_bytes(corpus.read_bytes()[:1500])
    asked: dict[str, Any] = {"text": str(text), "n_ctx": 128}
    theirs = llama("rolling", f32, **asked, **PRECISE, extension=str(RUNNERS / "llama_cpp_rolling.py"))
    ours = good("mlx", "rolling", format="hf", compute="float32", **asked)
    assert ours.of("rolling")[0]["token_sha256"] == theirs.of("rolling")[0]["token_sha256"]
    name = "bits_per_byte_rolling"
    assert figures(ours)[name] == pytest.approx(figures(theirs)[name], rel=1e-5)


# --- log-likelihoods ---

DOCUMENTS = [
    {
        "context": "The capital of France is",
        "continuations": [" Paris", " a large animal", " one of the greens of all"],
    },
    {"context": "The capital of Spain lies in", "continuations": [" its middle", " Madrid", " the"]},
    {"context": "", "continuations": ["Hello there", " you"]},
    {"context": ["def f(x): ", "def g(x):"], "continuations": ["return x", " return y"]},
]


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tasks") / "requests.jsonl"
    same = {"gold": 0, "group": "", "lengths": [1, 1, 1]}
    head = {"task": "t", "version": 1, "n_shot": 0, "limit": None, "n_docs": len(DOCUMENTS), "of_docs": len(DOCUMENTS)}
    lines = [{**same, **one, "doc": i, "doc_hash": str(i)} for i, one in enumerate(DOCUMENTS)]
    about = {"whole": 0, "source": "here", "lm_eval": "0"}
    path.write_text("".join(json.dumps(line) + "\n" for line in [{**head, **about}, *lines]))
    return path


def items(ran: Ran) -> dict[int, dict[str, Any]]:
    return {item["doc"]: item for item in ran.of("item")}


def test_one_artifact_gives_one_log_likelihood_of_each_continuation(f32: Path, requests: Path) -> None:
    shared = {"requests": str(requests), "items": str(RUNNERS / "task_items.py")}
    theirs = items(llama("tasks", f32, **shared, **PRECISE, extension=str(RUNNERS / "llama_cpp_tasks.py")))
    assert len(theirs) == len(DOCUMENTS)
    for name in ("mlx", "transformers"):
        ours = items(good(name, "tasks", format="hf", compute="float32", **shared))
        for doc, item in theirs.items():
            assert ours[doc]["ll"] == pytest.approx(item["ll"], abs=1e-3), (name, doc)
            assert (ours[doc]["greedy"], ours[doc]["n_tokens"]) == (item["greedy"], item["n_tokens"])


def test_a_prompt_is_given_and_answered_alike(f32: Path, tmp_path: Path) -> None:
    """Greedy, through the model's own chat template, or as it is."""
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps(["def f(x):", "The sky is"]))
    asked: dict[str, Any] = {"requests": str(prompts), "n_gen": 8, "temperature": 0, "seed": 0, "chat": True}
    theirs = llama("answer", f32, **asked, **PRECISE, extension=str(RUNNERS / "llama_cpp_answer.py"))
    ours = good("mlx", "answer", format="hf", compute="float32", **asked)
    for kind, fields in (("prompt", ("n_tokens", "form")), ("answer", ("text_sha256", "n", "ended"))):
        assert [[e[f] for f in fields] for e in ours.of(kind)] == [[e[f] for f in fields] for e in theirs.of(kind)]
    assert "".join(e["text"] for e in ours.of("piece")) == "".join(e["text"] for e in theirs.of("piece"))
