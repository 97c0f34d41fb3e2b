"""Bits per byte over all of a text: lm-eval's rolling log-likelihood, comparable between tokenizers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest

from quantfarm import metrics
from quantfarm.corpus import held_out_text
from quantfarm.nouns import Measurement
from quantfarm.runtimes.events import parse
from tests.running import RUNNERS, Ran, run
from tests.running import llama_cpp as request

EXTENSION = RUNNERS / "llama_cpp_rolling.py"
N_CTX = 32


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of several windows and a shorter last one, with a letter of two bytes."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes("naïve\n".encode() + held_out_text()[:601])
    return path


def rolling(model: Path, text: Path, n_ctx: int = N_CTX, **more: Any) -> Ran:
    asked = {"text": str(text), "n_ctx": n_ctx, "n_batch": 512, "extension": str(EXTENSION), **more}
    return run(request("rolling", model, **asked))


def figure(ran: Ran) -> Measurement:
    assert ran.end["ok"], ran.end
    return next(one for one in metrics.measure(parse(ran.lines)) if one.metric == "bits_per_byte_rolling")


def lm_eval_windows(ids: list[int], prefix: int, most: int) -> Iterator[tuple[list[int], list[int]]]:
    """(context, continuation) as lm_eval.utils has them: get_rolling_token_windows, then make_disjoint_window."""
    predicted = min(most, len(ids))
    yield [prefix], ids[:predicted]
    while predicted < len(ids):
        n = min(len(ids) - predicted, most)
        end = predicted + n
        whole = ids[end - most - 1 : end - 1]
        yield whole[: len(whole) - (n - 1)], ids[end - n : end]
        predicted += n


def by_hand(model: Path, raw: bytes) -> tuple[float, int]:
    """(Σ nll in nats, tokens), each token from its own softmax, by llama-cpp-python's own interface."""
    llm = llama_cpp.Llama(str(model), n_ctx=64, n_threads=1, logits_all=True, flash_attn=True, verbose=False)
    ids, total = llm.tokenize(raw, add_bos=False, special=False), 0.0
    for context, continuation in lm_eval_windows(ids, llm.token_bos(), N_CTX):
        llm.reset()
        llm.eval([*context, *continuation[:-1]])
        for at, token in enumerate(continuation, len(context) - 1):
            logits = np.asarray(llm.scores[at], dtype=np.float64)
            total -= logits[token] - logits.max() - math.log(np.exp(logits - logits.max()).sum())
    llm.close()
    return total, len(ids)


def test_it_is_lm_evals_definition(reference: Path, text: Path) -> None:
    ran = rolling(reference, text)
    total, n = by_hand(reference, text.read_bytes())
    assert n % N_CTX, "the last window is a shorter one"
    assert sum(sum(window["nll"]) for window in ran.of("window")) == pytest.approx(total, rel=1e-6)
    found = figure(ran)
    assert found.n == n, "every token once"
    assert found.value == pytest.approx(total / (math.log(2) * len(text.read_bytes())), rel=1e-6)


def test_two_tokenizers_are_comparable_on_one_text(reference: Path, data: Path, text: Path) -> None:
    """512 tokens against 4096: per token they are of other lengths, per byte they are of one."""
    stories = data / "models" / "stories260K" / "stories260K-f32.gguf"
    ours, theirs = rolling(reference, text), rolling(stories, text)
    [a], [b] = ours.of("rolling"), theirs.of("rolling")
    assert a["bytes"] == b["bytes"] == len(text.read_bytes())
    assert a["text_sha256"] == b["text_sha256"]
    assert a["n_tokens"] != b["n_tokens"]
    assert figure(ours).value < figure(theirs).value, "a model of Python reads Python better than one of stories"


def test_parts_of_a_window_score_as_the_whole(reference: Path, text: Path) -> None:
    """Where a batch holds less than a window, nothing is lost or counted twice."""
    parts = rolling(reference, text, 128, n_batch=48, n_ubatch=48)
    assert figure(parts).n == figure(rolling(reference, text, 128)).n
    assert figure(parts).value == pytest.approx(figure(rolling(reference, text, 128)).value, rel=3e-4), "half floats"


def test_a_short_text_is_one_window(reference: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("import")
    assert len(rolling(reference, path).of("window")) == 1
    path.write_text("")
    assert "is empty" in rolling(reference, path).end["error"]


def test_an_unfinished_trace_has_no_figure(reference: Path, text: Path) -> None:
    lines = list(rolling(reference, text).lines)
    whole = [json.loads(line)["event"] for line in lines]
    del lines[whole.index("window")]
    assert [m.metric for m in metrics.measure(parse(lines)) if "byte" in m.metric] == []


def test_it_is_not_taken_for_the_figure_over_half_of_each_chunk(reference: Path, text: Path) -> None:
    found = figure(rolling(reference, text))
    assert found.metric == "bits_per_byte_rolling"
    assert "every token of the text" in found.remark
