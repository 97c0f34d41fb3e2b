"""Speculative decoding: the same greedy text as without a draft, or the place where rounding parts them; never else."""

from __future__ import annotations

import functools
import importlib.util
import sys
from array import array
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from quantfarm import metrics
from quantfarm.nouns import Measurement, Trace, metric_of
from quantfarm.runtimes.events import parse
from tests.gguf_runner import quantize
from tests.running import RUNNERS, Ran, llama_cpp, run

EXTENSION = RUNNERS / "llama_cpp_speculative.py"
SIZES: dict[str, Any] = {"n_draft": 4, "n_prompt": 16, "n_gen": 40, "repetitions": 6}


# --- for real: the reference model and its own Q4_0 as the draft ---


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory, reference: Path) -> Path:
    path = tmp_path_factory.mktemp("draft") / "draft.gguf"
    assert quantize(reference, path, "Q4_0").finished
    return path


def ask(reference: Path, draft: Path, extension: Path = EXTENSION, **more: Any) -> Ran:
    return run(llama_cpp("speculative", reference, extension=str(extension), draft=str(draft), **{**SIZES, **more}))


@pytest.fixture(scope="module")
def ran(reference: Path, draft: Path) -> Ran:
    return ask(reference, draft)


def test_the_text_is_the_same_as_without_a_draft(ran: Ran) -> None:
    """Or the run says where they part: batches of another size may round differently on this processor."""
    assert ran.end["ok"], ran.end
    pairs = ran.of("speculative")
    assert len(pairs) == SIZES["repetitions"]
    assert {pair["plain_sha256"] for pair in pairs} == {pairs[0]["plain_sha256"]}
    parted = {event["repetition"] for event in ran.of("parted")}
    for pair in pairs:
        assert (pair["sha256"] == pair["plain_sha256"]) == (pair["repetition"] not in parted)


def test_every_token_was_drafted_and_accepted_or_the_model_s_own(ran: Ran) -> None:
    """The first token is the prompt's; each round gives those accepted and one more."""
    for pair in ran.of("speculative"):
        assert pair["tokens"] == SIZES["n_gen"] == 1 + pair["accepted"] + pair["rounds"]
        assert 0 < pair["accepted"] <= pair["drafted"] <= SIZES["n_draft"] * pair["rounds"]


def test_a_draft_of_the_same_model_is_always_right(reference: Path) -> None:
    """The same file: what it drafts is what it says, so every round gives n_draft + 1 tokens."""
    (pair, *_) = ask(reference, reference, repetitions=1, n_gen=41).of("speculative")
    assert pair["accepted"] == pair["drafted"]
    assert pair["rounds"] == 8


def test_its_figures(ran: Ran) -> None:
    found = metrics.measure(parse(ran.lines))
    speed_up, accepted = one(found, "speed_up"), one(found, "acceptance_rate")
    assert speed_up.low is not None
    assert speed_up.high is not None
    assert 0 < speed_up.low <= speed_up.value <= speed_up.high
    assert (speed_up.n, len(speed_up.samples)) == (6, 6)
    assert 0 < accepted.value <= 100
    assert one(found, "same_text").value > 0
    assert not {"decode_tps", "ttft"} & {m.metric for m in found}


def test_a_draft_with_other_tokens_is_refused(reference: Path, draft: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(draft.read_bytes().replace(b"self", b"selg", 1))
    end = ask(reference, other).end
    assert (end["ok"], end["stage"]) == (False, "load")
    assert "has another vocabulary than the model: other tokens" in end["error"]


def test_a_draft_that_is_not_there_is_named(reference: Path) -> None:
    end = ask(reference, Path("/nowhere/draft.gguf")).end
    assert (end["ok"], end["stage"]) == (False, "load")
    assert "/nowhere/draft.gguf" in end["error"]
    end = run(llama_cpp("speculative", reference, extension=str(EXTENSION), **SIZES)).end
    assert (end["stage"], end["error"]) == ("request", "the request has no draft")


@pytest.mark.parametrize("wrong", ["n_draft", "n_gen", "repetitions"])
def test_a_request_that_cannot_be_is_refused(reference: Path, draft: Path, wrong: str) -> None:
    end = ask(reference, draft, **{wrong: 0}).end
    assert end["stage"] == "request"
    assert wrong in end["error"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("taken.append(target.best(i))", "taken.append(proposed[i] if i < len(proposed) else target.best(i))"),
        ("if i < len(proposed) and taken[-1] != proposed[i]:", "if i == 1:"),
    ],
)
def test_a_text_that_the_model_would_not_say_fails_the_cell(
    reference: Path, draft: Path, tmp_path: Path, right: str, wrong: str
) -> None:
    """Of a program that takes what it must not: it is found out, and the figures do not land."""
    broken = tmp_path / "broken.py"
    assert EXTENSION.read_text().count(right) == 1
    broken.write_text(EXTENSION.read_text().replace(right, wrong))
    ran = ask(reference, draft, extension=broken)
    assert ran.end["ok"] is False
    assert "the draft changes the text at token" in ran.end["error"]
    assert "logits apart" in ran.end["error"]
    assert metrics.measure(parse(ran.lines)) == ()


# --- where the texts part ---


@functools.cache
def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("llama_cpp_speculative", EXTENSION)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its module up
    spec.loader.exec_module(module)
    return module


class Model:
    """Says token 1 with 2.0 logits and token 2 with 2.0 less `apart`; in a batch all logits of token 2 gain 0.01."""

    def __init__(self, apart: float) -> None:
        self.core, self.apart, self.fed = SimpleNamespace(load_numpy=lambda: None), apart, 0

    def read_prompt(self) -> int:
        return 0

    def feed(self, ids: Any) -> None:
        self.fed = len(ids)

    def logits(self, output: int) -> Any:
        assert output < self.fed
        return np.array([0.0, 2.0, 2.0 - self.apart + (0.01 if self.fed > 1 else 0.0)], dtype=np.float32)


def parted(apart: float, at: int = 7) -> Any:
    texts = load()
    one = texts.Text(array("i", [1] * 12), [])
    other = texts.Text(array("i", [1] * at + [2] + [1] * (11 - at)), [])
    return texts.parting(Model(apart), one, other, 5)


def test_tokens_closer_than_rounding_are_a_tie() -> None:
    found = parted(0.008)
    assert (found.token, found.plain, found.speculative) == (7, 1, 2)
    assert (found.margin, found.noise) == pytest.approx((0.008, 0.01), abs=1e-6)
    assert found.tie


def test_tokens_further_apart_than_rounding_can_move_both_are_none() -> None:
    assert parted(0.019).tie
    assert not parted(0.03).tie


def test_texts_that_part_at_the_first_token_are_no_tie() -> None:
    """It was said after the same prompt, read in the same batches."""
    assert not parted(0.0, at=0).tie


def test_the_same_texts_do_not_part() -> None:
    texts = load()
    same = texts.Text(array("i", [1, 2, 3]), [])
    assert texts.parting(Model(0), same, same, 5) is None


# --- the figures, worked by hand ---


def one(found: Any, metric: str) -> Measurement:
    measurement = metric_of(list(found), metric)
    assert measurement
    return measurement


def trace(*pairs: tuple[float, float], more: tuple[dict[str, Any], ...] = (), ok: bool = True) -> Trace:
    """Pairs of (seconds without a draft, seconds with it), of 11 tokens and 8 drafted ones of which 6 were taken."""
    figures = {"tokens": 11, "drafted": 8, "accepted": 6, "rounds": 4, "sha256": "a", "plain_sha256": "a"}
    events = [
        {"event": "speculative", "t": i, "repetition": i, "plain_seconds": a, "seconds": b, **figures}
        for i, (a, b) in enumerate(pairs)
    ]
    return Trace(events=({"event": "begin", "t": 0}, *events, *more, {"event": "end", "t": 9, "ok": ok}))


def test_a_speed_up_is_the_median_of_paired_ratios() -> None:
    found = metrics.measure(trace((2.0, 1.0), (2.0, 1.0), (4.0, 2.0)))
    speed_up = one(found, "speed_up")
    assert (speed_up.value, speed_up.unit, speed_up.samples) == (pytest.approx(2.0), "", pytest.approx((2, 2, 2)))
    assert (speed_up.low, speed_up.remark) == (None, "5 → 10 tok/s")  # three pairs have no 95 % interval
    assert one(found, "speculative_tps").value == pytest.approx(10.0)


def test_six_pairs_have_an_interval() -> None:
    speed_up = one(metrics.measure(trace(*[(2.0, 1.0)] * 5, (2.0, 0.5))), "speed_up")
    assert (speed_up.low, speed_up.high) == pytest.approx((2.0, 4.0))


def test_acceptance_is_over_all_drafted_tokens() -> None:
    accepted = one(metrics.measure(trace((1.0, 1.0), (1.0, 1.0))), "acceptance_rate")
    assert (accepted.value, accepted.unit, accepted.n) == (75.0, "%", 16)


def test_where_the_texts_part_is_said_with_how_close_the_tokens_were() -> None:
    apart = {"event": "parted", "t": 8, "repetition": 1, "token": 5, "margin": 0.0012, "noise": 0.002}
    same = one(metrics.measure(trace((1.0, 1.0), (1.0, 1.0), more=(apart,))), "same_text")
    assert same.samples == pytest.approx((100.0, 500 / 11))
    assert same.value == min(same.samples)
    assert same.remark == (
        "parts at token 5: two tokens are 0.0012 logits apart, where reading in batches moves logits by 0.002"
    )
    assert one(metrics.measure(trace((1.0, 1.0))), "same_text").value == 100


def test_a_failed_run_has_no_figures() -> None:
    assert metrics.measure(trace((1.0, 1.0), ok=False)) == ()
