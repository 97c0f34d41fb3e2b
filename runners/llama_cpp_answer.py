"""Answers prompts, piece by piece as they are written; a part of runners/llama_cpp.py, which loads this file.

Request: `{"kind": "answer", "requests": path, "n_gen": 256, "temperature": 0, "seed": 0, "chat": true, …}` with the
context parameters; the file is a JSON list of prompts. Temperature 0 is greedy. With `chat` the model's own chat
template is applied where it has one: by llama.cpp's library, else in jinja2's sandbox. It stops at the end of the text
or after `n_gen` tokens. Events: docs/events.md.
"""

from __future__ import annotations

import codecs
import ctypes
import hashlib
import json
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Bytes that the text of one token may have.
PIECE = 1024
TEMPLATED, PLAIN, UNKNOWN = "chat template", "as it is", "as it is: its chat template cannot be applied"


class Prompt:
    """A prompt as the model is given it: `form` says how."""

    def __init__(self, core: Any, model: Any, text: str, chat: bool) -> None:
        self.form, given = PLAIN, text.encode()
        template = core.C.llama_model_chat_template(model.handle, None) if chat else None
        if template:
            made = templated(core, template, given) or sandboxed(core, model, template.decode(), text)
            self.form, given = (UNKNOWN, given) if made is None else (TEMPLATED, made)
        self.ids = tokens(core, model, given, special=self.form == TEMPLATED)
        if not self.ids:
            raise core.Failure("request", "a prompt is empty")


def templated(core: Any, template: bytes, text: bytes) -> bytes | None:
    """The text as a user's turn, up to where the answer begins; None where the template is not a known one."""
    message = (core.C.llama_chat_message * 1)(core.C.llama_chat_message(role=b"user", content=text))
    room = 2 * len(text) + 4096
    buffer = ctypes.create_string_buffer(room)
    length = core.C.llama_chat_apply_template(template, message, 1, True, buffer, room)
    return buffer.raw[:length] if 0 <= length <= room else None


def sandboxed(core: Any, model: Any, template: str, text: str) -> bytes | None:
    """The same through jinja2, which can reach nothing from there; None without it, or for a template that fails."""
    try:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        names = {"bos_token": core.C.llama_vocab_bos, "eos_token": core.C.llama_vocab_eos}
        special = {name: special_text(core, model, token(model.vocab)) for name, token in names.items()}
        made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
        said = made.render(messages=[{"role": "user", "content": text}], add_generation_prompt=True, **special)
    except Exception:  # a template is a program of the model's maker: whatever it does wrong, the prompt is plain
        return None
    # The vocabulary adds it too.
    return (said.removeprefix(special["bos_token"]) if model.adds_bos else said).encode()


def special_text(core: Any, model: Any, token: int) -> str:
    buffer = ctypes.create_string_buffer(PIECE)
    n = core.C.llama_token_to_piece(model.vocab, token, buffer, PIECE, 0, True) if token >= 0 else 0
    return buffer.raw[: max(0, n)].decode(errors="replace")


def tokens(core: Any, model: Any, text: bytes, special: bool) -> array[int]:
    """With what the vocabulary adds; special tokens are taken for such in what a template wrote alone."""
    room = len(text) + 8
    ids = (ctypes.c_int32 * room)()
    n = core.C.llama_tokenize(model.vocab, text, len(text), ids, room, True, special)
    if n < 0:
        raise core.Failure("run", f"a prompt of {len(text)} bytes cannot be tokenised ({n})")
    return array("i", ids[:n])


class Pieces:
    """The text of tokens; a character whose bytes lie in several tokens comes with the last of them."""

    def __init__(self, core: Any, vocab: Any) -> None:
        self._core, self._vocab, self._buffer = core, vocab, ctypes.create_string_buffer(PIECE)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def of(self, token: int) -> str:
        n = self._core.C.llama_token_to_piece(self._vocab, token, self._buffer, PIECE, 0, False)
        return self._decoder.decode(self._buffer.raw[: max(0, n)])

    def rest(self) -> str:
        """What was cut off within a character."""
        return self._decoder.decode(b"", True)


def sampler(core: Any, temperature: float, seed: int) -> Any:
    """Greedy at temperature 0; the same seed chooses the same tokens."""
    library = core.C
    if temperature <= 0:
        return library.llama_sampler_init_greedy()
    chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
    library.llama_sampler_chain_add(chain, library.llama_sampler_init_temp(temperature))
    library.llama_sampler_chain_add(chain, library.llama_sampler_init_dist(seed & 0xFFFFFFFF))
    return chain


def given(core: Any, path: str) -> list[str]:
    """The prompts of the request's file."""
    try:
        texts = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise core.Failure("request", f"the prompts cannot be read: {error}") from error
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) and one for one in texts):
        raise core.Failure("request", "prompts are a list of texts")
    return texts


def answer(core: Any, session: Any) -> None:
    request, model = session.request, session.model
    n_gen = session.number("n_gen")
    texts = given(core, str(core.need(request, "requests")))
    prompts = [Prompt(core, model, text, bool(request.get("chat", True))) for text in texts]
    context = session.context(max(len(prompt.ids) for prompt in prompts) + n_gen)
    core.generate(context, core.prompt_batches(prompts[0].ids[:1], 1), 1, core.C.llama_sampler_init_greedy())
    session.events.emit("warmup", phase="answer")
    for index, prompt in enumerate(prompts):
        one(core, session, context, index, prompt, n_gen)
    context.free()


def one(core: Any, session: Any, context: Any, index: int, prompt: Prompt, n_gen: int) -> None:
    """Each piece is said as it comes: its time was taken before."""
    request, events, library, vocab = session.request, session.events, core.C, session.model.vocab
    chosen = sampler(core, float(request.get("temperature") or 0), int(request.get("seed") or 0))
    batches = core.prompt_batches(prompt.ids, int(request["n_batch"]))
    single, pieces, said, times = core.Batch([0], [0], [True]).raw, Pieces(core, vocab), [], []
    events.emit("prompt", index=index, n_tokens=len(prompt.ids), form=prompt.form)
    context.clear()
    submit, ended = core.now(), "length"
    for batch in batches:
        context.decode(batch.raw)
    for i in range(n_gen):
        token = library.llama_sampler_sample(chosen, context.handle, -1)
        times.append(core.now())
        if library.llama_vocab_is_eog(vocab, token):
            ended = "end of text"
            break
        if text := pieces.of(token):
            said.append(text)
            events.emit("piece", index=index, text=text, at=times[-1])
        if i < n_gen - 1:
            single.token[0], single.pos[0] = token, len(prompt.ids) + i
            context.decode(single)
    if rest := pieces.rest():
        said.append(rest)
        events.emit("piece", index=index, text=rest, at=times[-1])
    library.llama_sampler_free(chosen)
    text = "".join(said)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    events.emit("answer", index=index, ended=ended, n=len(times), submit=submit, times=times, text_sha256=sha256)


def kinds(core: Any) -> dict[str, Callable[[Any], None]]:
    return {"answer": lambda session: answer(core, session)}
