"""Serves a model's folder to an OpenAI-compatible client, by the server of runners/chat.

Loaded by path; `session` and `answering` are put here by runners/shared/session.py. Request: as of
runners/llama_cpp_serve.py, of one model. Each conversation is computed from its beginning.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from typing import Any

session: Any = None
answering: Any = None


class Writer:
    """`names`: the one model that can be asked."""

    def __init__(self, engine: Any, names: list[str], n_ctx: int, wrong: Any) -> None:
        self.engine, self.names, self.n_ctx, self._wrong = engine, names, n_ctx, wrong

    def begin(self, asked: Any, gone: Callable[[], bool]) -> Answer:
        del gone  # a prompt is computed at once
        ids, form = answering.given_turns(self.engine.text, asked.messages)
        if not ids:
            raise self._wrong(400, "the conversation is empty")
        if len(ids) >= self.n_ctx:
            said = f"the conversation has {len(ids)} tokens, the context holds {self.n_ctx}: shorten it"
            raise self._wrong(400, said, "context_length_exceeded")
        room = self.n_ctx - len(ids)
        return Answer(self.engine, asked, ids, form, min(asked.max_tokens or room, room))


class Answer:
    """The text that follows a prompt, as it is written."""

    def __init__(self, engine: Any, asked: Any, ids: list[int], form: str, most: int) -> None:
        self.engine, self.asked, self.ids, self.form, self.most = engine, asked, ids, form, most
        self.n_prompt, self.n, self.ended = len(ids), 0, "length"

    def pieces(self) -> Iterator[str]:
        """A character whose bytes lie in several tokens comes with the last of them."""
        text, asked = self.engine.text, self.asked
        piece, special, decoder = text.pieces(), text.special(), codecs.getincrementaldecoder("utf-8")("replace")
        among = {"top_k": asked.top_k, "top_p": asked.top_p, "repeat_penalty": asked.repeat_penalty}
        for token in self.engine.stream(self.ids, self.most, asked.temperature, asked.seed, **among):
            self.n += 1
            if token in text.ends:
                self.ended = "stop"
                break
            if token not in special and (words := decoder.decode(piece(token))):
                yield words
        if rest := decoder.decode(b"", True):
            yield rest


def serve(run: Any) -> None:
    request = run.request
    paths = session.need(request, "chat")
    parts = {name: session.load_by_path(f"quantfarm_chat_{name}", path) for name, path in paths.items()}
    http, asking = parts["http"], parts["request"]
    http.request = asking
    names = list(session.need(request, "models"))
    if len(names) != 1:
        raise session.Failure("request", "a folder is served alone: name one model")
    n_ctx = min(run.number("n_ctx"), run.engine.max_length)
    try:
        server = http.bound(int(request.get("port") or 0), names)
    except OSError as error:
        said = f"port {request.get('port')} of {http.LOOPBACK} cannot be had: {error.strerror}"
        raise session.Failure("run", said) from error
    run.events.emit("serving", port=server.server_port, key=server.key, models=names, n_ctx=n_ctx)
    writer = Writer(run.engine, names, n_ctx, asking.Wrong)
    run.events.emit("result", ended=http.serve(server, writer, float(request.get("idle_s") or 0)))
