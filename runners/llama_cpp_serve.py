"""Serves GGUF models to an OpenAI-compatible client; a part of runners/llama_cpp.py, which loads this file.

Request: `{"kind": "serve", "models": {name: path}, "chat": {name: path of runners/chat}, "n_ctx": 4096, "port": 0,
"idle_s": 900, …}` with the context parameters; `model` is the first of the models, the others are loaded in its place
when they are asked for. Events: docs/events.md. A conversation is given in the model's own chat template, by
llama.cpp's library, else in jinja2's sandbox; where it has none, its messages follow each other as they are.
"""

from __future__ import annotations

import codecs
import ctypes
import importlib.util
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import SourceFileLoader
from typing import Any

#: Bytes that the text of one token may have.
PIECE = 1024
TEMPLATED, PLAIN, UNKNOWN = "chat template", "as it is", "as it is: its chat template cannot be applied"
#: The last tokens that a repeat penalty looks at: llama.cpp's own default.
PENALTY_LAST_N = 64

Messages = Sequence[Mapping[str, str]]


def part(name: str, path: str) -> Any:
    loader = SourceFileLoader(name, path)
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


# ------------------------------------------------------------------ the conversation


def conversation(core: Any, model: Any, messages: Messages) -> tuple[array[int], str]:
    """In tokens, up to where the answer begins; and how it is given. Special tokens are taken for such in what a
    template wrote alone."""
    template = core.C.llama_model_chat_template(model.handle, None)
    said = None
    if template:
        said = templated(core, template, messages) or sandboxed(
            core, model, template.decode("utf-8", "replace"), messages
        )
    form = TEMPLATED if said is not None else UNKNOWN if template else PLAIN
    plain = "\n".join(message["content"] for message in messages).encode("utf-8", "replace")
    return tokens(core, model, plain if said is None else said, special=said is not None), form


def templated(core: Any, template: bytes, messages: Messages) -> bytes | None:
    """None where the template is not one that llama.cpp's library knows."""
    kind = core.C.llama_chat_message
    pairs = [(one["role"].encode(), one["content"].encode("utf-8", "replace")) for one in messages]
    chat = (kind * len(pairs))(*(kind(role=role, content=content) for role, content in pairs))
    room = 2 * sum(len(content) + 256 for _, content in pairs) + 4096
    buffer = ctypes.create_string_buffer(room)
    length = core.C.llama_chat_apply_template(template, chat, len(pairs), True, buffer, room)
    return buffer.raw[:length] if 0 <= length <= room else None


def sandboxed(core: Any, model: Any, template: str, messages: Messages) -> bytes | None:
    """The same through jinja2, which can reach nothing from there; None without it, or for a template that fails."""
    try:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        names = {"bos_token": core.C.llama_vocab_bos, "eos_token": core.C.llama_vocab_eos}
        special = {name: special_text(core, model, token(model.vocab)) for name, token in names.items()}
        made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
        said = made.render(messages=[dict(one) for one in messages], add_generation_prompt=True, **special)
    except Exception:  # a template is a program of the model's maker: whatever it does wrong, the text is plain
        return None
    # The vocabulary adds it too.
    return (said.removeprefix(special["bos_token"]) if model.adds_bos else said).encode("utf-8", "replace")


def special_text(core: Any, model: Any, token: int) -> str:
    buffer = ctypes.create_string_buffer(PIECE)
    n = core.C.llama_token_to_piece(model.vocab, token, buffer, PIECE, 0, True) if token >= 0 else 0
    return buffer.raw[: max(0, n)].decode(errors="replace")


def tokens(core: Any, model: Any, text: bytes, special: bool) -> array[int]:
    room = len(text) + 8
    ids = (ctypes.c_int32 * room)()
    n = core.C.llama_tokenize(model.vocab, text, len(text), ids, room, True, special)
    if n < 0:
        raise core.Failure("run", f"a conversation of {len(text)} bytes cannot be tokenised ({n})")
    return array("i", ids[:n])


# ------------------------------------------------------------------ the sampler


def sampler(core: Any, model: Any, asked: Any, prompt: array[int]) -> Any:
    """Greedy at temperature 0. What would change nothing is left out, so that the same is drawn as for `answer`."""
    library = core.C
    chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())

    def add(made: Any) -> None:
        library.llama_sampler_chain_add(chain, made)

    if asked.repeat_penalty != 1:
        add(library.llama_sampler_init_penalties(model.n_vocab, PENALTY_LAST_N, asked.repeat_penalty, 0.0, 0.0))
    if asked.temperature <= 0:
        add(library.llama_sampler_init_greedy())
    else:
        if 0 < asked.top_k < model.n_vocab:
            add(library.llama_sampler_init_top_k(asked.top_k))
        if asked.top_p < 1:
            add(library.llama_sampler_init_top_p(asked.top_p, 1))
        add(library.llama_sampler_init_temp(asked.temperature))
        add(library.llama_sampler_init_dist(asked.seed))
    for token in prompt[-PENALTY_LAST_N:]:
        library.llama_sampler_accept(chain, token)
    return chain


# ------------------------------------------------------------------ the models


class Loaded:
    """One model in memory, with a context whose cache is kept from one request to the next."""

    def __init__(self, core: Any, session: Any) -> None:
        self.core, self.session, self.model = core, session, session.model
        trained = core.C.llama_model_n_ctx_train(self.model.handle)
        self.context = session.context(min(session.number("n_ctx"), trained or 2**31))
        self.n_ctx = core.C.llama_n_ctx(self.context.handle)
        self.block = core.C.llama_n_ubatch(self.context.handle)
        self.kept: array[int] = array("i")

    def free(self) -> None:
        self.context.free()
        self.core.C.llama_model_free(self.model.handle)

    def feed(self, ids: array[int], check: Callable[[], None]) -> None:
        """In blocks that begin at multiples of their size, whatever is in the cache already: so a conversation is
        computed in the same blocks each time, and the same seed writes the same."""
        start = self._kept_of(ids)
        for at in range(start, len(ids), self.block):
            check()
            some = ids[at : at + self.block]
            batch = self.core.Batch(
                range(at, at + len(some)), [0] * len(some), [at + len(some) == len(ids)] * len(some)
            )
            batch.fill(some)
            try:
                self.context.decode(batch.raw)
            finally:
                self.core.C.llama_batch_free(batch.raw)
            self.kept = ids[: at + len(some)]

    def _kept_of(self, ids: array[int]) -> int:
        """How many tokens of a prompt are in the cache, in whole blocks; what follows them is taken out."""
        same = next((i for i, (a, b) in enumerate(zip(self.kept, ids, strict=False)) if a != b), None)
        same = min(len(self.kept), len(ids) - 1) if same is None else same
        start = min(same, len(ids) - 1) // self.block * self.block
        self.kept = ids[:0]
        if not start or not self.core.C.llama_memory_seq_rm(self.context.memory, 0, start, -1):
            self.context.clear()
            return 0
        return start


class Writer:
    """`names`: what can be asked; the model of one of them is loaded."""

    def __init__(self, core: Any, session: Any, models: Mapping[str, str], wrong: Any, gone: Any) -> None:
        self.core, self.models, self.names = core, models, list(models)
        self._wrong, self._gone = wrong, gone
        self._request, self._events = session.request, session.events
        self.name, self.loaded = self.names[0], Loaded(core, session)

    def begin(self, asked: Any, gone: Callable[[], bool]) -> Answer:
        self._load(asked.model)
        ids, form = conversation(self.core, self.loaded.model, asked.messages)
        n_ctx = self.loaded.n_ctx
        if not ids:
            raise self._wrong(400, "the conversation is empty")
        if len(ids) >= n_ctx:
            said = (
                f"the conversation has {len(ids)} tokens, the context holds {n_ctx}: shorten it, or serve a larger one"
            )
            raise self._wrong(400, said, "context_length_exceeded")

        def check() -> None:
            if gone():
                raise self._gone

        self.loaded.feed(ids, check)
        return Answer(self.core, self.loaded, asked, ids, form)

    def _load(self, name: str) -> None:
        if self.loaded and name == self.name:
            return
        self.loaded.free()
        try:
            session = self.core.Session({**self._request, "model": self.models[name]}, self._events)
            self.name, self.loaded = name, Loaded(self.core, session)
        except self.core.Failure as failure:
            raise self._wrong(500, f"{name} cannot be loaded: {failure.error}") from failure


class Answer:
    """The tokens that follow a prompt which the context holds."""

    def __init__(self, core: Any, loaded: Loaded, asked: Any, prompt: array[int], form: str) -> None:
        self.core, self.loaded, self.asked, self.prompt, self.form = core, loaded, asked, prompt, form
        self.n_prompt, self.n, self.ended = len(prompt), 0, "length"
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._buffer = ctypes.create_string_buffer(PIECE)

    def pieces(self) -> Iterator[str]:
        """A character whose bytes lie in several tokens comes with the last of them."""
        chain = sampler(self.core, self.loaded.model, self.asked, self.prompt)
        single = self.core.Batch([0], [0], [True]).raw
        try:
            yield from self._pieces(chain, single)
        finally:
            self.core.C.llama_sampler_free(chain)
            self.core.C.llama_batch_free(single)

    def _pieces(self, chain: Any, single: Any) -> Iterator[str]:
        library, context, vocab = self.core.C, self.loaded.context, self.loaded.model.vocab
        room = self.loaded.n_ctx - self.n_prompt
        token = -1
        for place in range(self.n_prompt - 1, self.n_prompt - 1 + min(self.asked.max_tokens or room, room)):
            if self.n:
                single.token[0], single.pos[0] = token, place
                context.decode(single)
            token = library.llama_sampler_sample(chain, context.handle, -1)
            self.n += 1
            if library.llama_vocab_is_eog(vocab, token):
                self.ended = "stop"
                break
            if text := self._text(vocab, token):
                yield text
        if rest := self._decoder.decode(b"", True):
            yield rest

    def _text(self, vocab: Any, token: int) -> str:
        n = self.core.C.llama_token_to_piece(vocab, token, self._buffer, PIECE, 0, False)
        return self._decoder.decode(self._buffer.raw[: max(0, n)])


def serve(core: Any, session: Any) -> None:
    request = session.request
    parts = {name: part(f"quantfarm_chat_{name}", path) for name, path in core.need(request, "chat").items()}
    http, asking = parts["http"], parts["request"]
    http.request = asking
    models = core.need(request, "models")
    try:
        server = http.bound(int(request.get("port") or 0), list(models))
    except OSError as error:
        raise core.Failure(
            "run", f"port {request.get('port')} of {http.LOOPBACK} cannot be had: {error.strerror}"
        ) from error
    writer = Writer(core, session, models, asking.Wrong, asking.Gone)
    session.events.emit(
        "serving", port=server.server_port, key=server.key, models=writer.names, n_ctx=writer.loaded.n_ctx
    )
    session.events.emit("result", ended=http.serve(server, writer, float(request.get("idle_s") or 0)))


def kinds(core: Any) -> dict[str, Callable[[Any], None]]:
    return {"serve": lambda session: serve(core, session)}
