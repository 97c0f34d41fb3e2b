"""Answers prompts, piece by piece as they are written: the same events as runners/llama_cpp_answer.py.

Loaded by path; `session` is put here by runners/shared/session.py.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

session: Any = None

TEMPLATED, PLAIN, UNKNOWN = "chat template", "as it is", "as it is: its chat template cannot be applied"


def given(path: str) -> list[str]:
    """The prompts of the request's file."""
    try:
        texts = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise session.Failure("request", f"the prompts cannot be read: {error}") from error
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) and one for one in texts):
        raise session.Failure("request", "prompts are a list of texts")
    return texts


def prompt(text: Any, words: str, chat: bool) -> tuple[list[int], str]:
    """A prompt in tokens, and how it is given. Special tokens are taken for such in what a template wrote alone."""
    turn = text.user_turn(words) if chat else None
    form = TEMPLATED if turn is not None else UNKNOWN if chat and text.has_template else PLAIN
    return text.encode(words if turn is None else turn, bos=True, special=turn is not None), form


def given_turns(text: Any, messages: Sequence[Mapping[str, str]]) -> tuple[list[int], str]:
    """As `prompt` of a conversation; where no template is, its messages follow each other as they are."""
    turns = text.turns(messages)
    form = TEMPLATED if turns is not None else UNKNOWN if text.has_template else PLAIN
    plain = "\n".join(message["content"] for message in messages)
    return text.encode(plain if turns is None else turns, bos=True, special=turns is not None), form


def answer(run: Any) -> None:
    request, engine, n_gen = run.request, run.engine, run.number("n_gen")
    texts = given(str(session.need(request, "requests")))
    prompts = [prompt(engine.text, words, bool(request.get("chat", True))) for words in texts]
    if not all(ids for ids, _ in prompts):
        raise session.Failure("request", "a prompt is empty")
    engine.generate(prompts[0][0][:1], 1)
    run.events.emit("warmup", phase="answer")
    for index, (ids, form) in enumerate(prompts):
        run.events.emit("prompt", index=index, n_tokens=len(ids), form=form)
        _one(run, index, ids, n_gen)


def _one(run: Any, index: int, ids: list[int], n_gen: int) -> None:
    """Each piece is said as it comes: its time was taken before. A character whose bytes lie in several tokens comes
    with the last of them."""
    text, request = run.engine.text, run.request
    piece, special, decoder = text.pieces(), text.special(), codecs.getincrementaldecoder("utf-8")("replace")
    said: list[str] = []
    times: list[int] = []

    def say(words: str) -> None:
        if words:
            said.append(words)
            run.events.emit("piece", index=index, text=words, at=times[-1])

    temperature, seed = float(request.get("temperature") or 0), int(request.get("seed") or 0)
    submit, ended = session.now(), "length"
    for token in run.engine.stream(ids, n_gen, temperature, seed):
        times.append(session.now())
        if token in text.ends:
            ended = "end of text"
            break
        say("" if token in special else decoder.decode(piece(token)))
    say(decoder.decode(b"", True))
    sha256 = hashlib.sha256("".join(said).encode()).hexdigest()
    run.events.emit("answer", index=index, ended=ended, n=len(times), submit=submit, times=times, text_sha256=sha256)
