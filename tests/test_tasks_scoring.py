"""METHOD §6 check 7: log-likelihoods of the farm's runner equal those of lm-eval's own Hugging Face model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quantfarm import corpus
from quantfarm.nouns import Trace
from quantfarm.tasks import cloze
from quantfarm.toolchain import environments
from quantfarm.toolchain.conversion import requirements
from tests import tasking

ROOT = Path(__file__).resolve().parent.parent
PEER = ROOT / "benchmarks" / "lm_eval_peer.py"
#: Tokens: what the longest documents below do not fit.
N_CTX = 256
SHOTS = "".join(f"def double_{n}(x):\n    return 2 * x + {n}\n\n\n" for n in range(7))


def documents() -> list[dict[str, Any]]:
    """200 requests: shared and different contexts, shared shots, one continuation, and what tokenizers stumble over."""
    text = corpus.held_out_text().decode()
    asked: list[tuple[str | list[str], list[str], str]] = []
    asked += [(item["text"], item["choices"], "") for item in cloze.items(text, 26)]
    asked += [(f"{SHOTS}def f_{n}(x):\n    return", [" x", " 2 * x", f" {n}", " None"], "shots") for n in range(12)]
    asked += [([f"import os\nfor a in {a}:", f"import os\nfor a in {a}("], [" pass"] * 2, "two") for a in "abcdef"]
    asked += [(f"def main() -> None:\n    {word}", [" = []"], "") for word in ("found", "result", "x", "self", "n")]
    asked += [(text[at : at + 4000], ["\n", " return self", " = 1"], "") for at in (0, 9000, 20000, 30000)]
    strange = ("", "x", "tail   ", "line\n", "ein naïves 日本語 🙂", "a <|end_of_text|> b", "<|begin_of_text|>x")
    asked += [(context, [" a b", "c", "\tüber 🙂"], "") for context in strange]
    return [
        tasking.document(number, context, choices, 0, group) for number, (context, choices, group) in enumerate(asked)
    ]


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tasking.write_requests(tmp_path_factory.mktemp("requests") / "requests.jsonl", documents())


@pytest.fixture(scope="module")
def full_precision(tmp_path_factory: pytest.TempPathFactory, reference: Path) -> Path:
    """The reference model's F16 weights widened: computed with 16-bit weights, activations are cut to 16 bits too."""
    out = tmp_path_factory.mktemp("model") / "reference-F32.gguf"
    request = {"kind": "quantize", "source": str(reference), "out": str(out), "quant": "F32", "threads": 1}
    command = [sys.executable, "-P", str(tasking.RUNNERS / "quantize_gguf.py"), "--request", json.dumps(request)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.wait() == 0
    return out


@pytest.fixture(scope="module")
def peer(requests: Path) -> dict[bool, list[Any]]:
    """lm-eval's answers with and without BOS."""
    python = environments.python_of(environments.environment("lm-eval-hf", requirements(PEER)))
    options = ["--requests", str(requests), "--bos", "true,false", "--n-ctx", str(N_CTX)]
    command = [str(python), "-P", str(PEER), "--model", str(ROOT / "reference_model" / "model"), *options]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    with_bos, without = json.loads(ran.stdout)
    return {True: with_bos["answers"], False: without["answers"]}


def farm(model: Path, requests: Path, bos: bool) -> Trace:
    trace = tasking.run(model, requests, add_bos=bos, n_ctx=N_CTX)
    assert trace.finished, trace.events[-1]
    return trace


@pytest.mark.parametrize("bos", [True, False], ids=["with BOS", "without BOS"])
def test_log_likelihoods_are_those_of_lm_evals_own_model(
    bos: bool, full_precision: Path, requests: Path, peer: dict[bool, list[Any]]
) -> None:
    trace = farm(full_precision, requests, bos)
    ours, theirs = tasking.answers(trace), peer[bos]
    assert len(ours) == len(theirs) >= 200
    assert max(abs(a - b) for (a, _), (b, _) in zip(ours, theirs, strict=True)) <= 1e-3
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
    said = trace.first("tasks")
    assert said["add_bos"] is bos
    assert said["truncated"] == sum(item["truncated"] for item in trace.of("item")) == 4


def test_how_documents_are_packed_changes_no_answer(full_precision: Path, requests: Path) -> None:
    """Small micro-batches, and batches that a document does not fit: the same to what adding in another order does."""
    whole = tasking.answers(farm(full_precision, requests, True))
    small = tasking.run(full_precision, requests, add_bos=True, n_ctx=N_CTX, n_batch=64, n_ubatch=32)
    assert small.finished, small.events[-1]
    assert max(abs(a - b) for (a, _), (b, _) in zip(whole, tasking.answers(small), strict=True)) <= 1e-4


def test_what_documents_share_is_decoded_once(full_precision: Path, tmp_path: Path, requests: Path) -> None:
    """Twelve documents behind seven worked examples cost little more than the examples and the ends."""
    lines = [json.loads(line) for line in requests.read_text().splitlines()[1:]]
    shots = [line for line in lines if line["group"] == "shots"]
    file = tasking.write_requests(tmp_path / "shots.jsonl", shots)
    trace = tasking.run(full_precision, file, n_ctx=1024)
    assert trace.finished, trace.events[-1]
    decoded, asked = trace.of("result")[0]["decoded"], trace.of("result")[0]["asked"]
    assert decoded < asked / 20


def test_requests_that_are_not_those_asked_for_are_refused(reference: Path, requests: Path) -> None:
    end = tasking.run(reference, requests, requests_sha256="00" * 32).first("end")
    assert (end["ok"], end["stage"]) == (False, "run")
    assert "not the requests file that was asked for" in end["error"]


def test_a_continuation_longer_than_the_context_is_refused_by_its_document(reference: Path, tmp_path: Path) -> None:
    file = tasking.write_requests(tmp_path / "r.jsonl", [tasking.document(7, "a", ["b " * 500])])
    end = tasking.run(reference, file, n_ctx=64).first("end")
    assert end["ok"] is False
    assert "document 7 has a continuation of" in end["error"]
