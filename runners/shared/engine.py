"""A model that a runner has loaded, whatever computes it, and the answer to a request about it.

Loaded by path; the other files of runners/shared are put here by session.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

session: Any = None
scoring: Any = None
speed: Any = None
quality: Any = None
tasks: Any = None
tokenizer: Any = None
answering: Any = None
serving: Any = None

#: Context parameters, and what is in every request.
CONTEXT = frozenset({"n_batch", "n_ubatch", "threads", "flash_attn", "type_k", "type_v", "n_gpu_layers"})
EVERY = frozenset({"kind", "model", "format", "device", "compute", "shared", "quant_linear"})
TEXT = frozenset({"text", "text_sha256", "n_ctx", "n_chunks"})
#: kind -> the parameters that it has besides.
PARAMETERS: Mapping[str, frozenset[str]] = {
    "bench": frozenset({"n_prompt", "n_gen", "n_depth", "repetitions"}),
    "app": frozenset({"n_prompt", "n_gen", "repetitions"}),
    "sustained": frozenset({"n_prompt", "n_gen", "runs", "more", "most", "extension"}),
    "batch": frozenset({"batch", "n_prompt", "n_gen", "repetitions"}),
    "quality": TEXT | {"base_logits"},
    "logits": TEXT | {"out"},
    "rolling": TEXT,
    "tokens": TEXT,
    "answer": frozenset({"requests", "n_gen", "temperature", "seed", "chat"}),
    "serve": frozenset({"models", "chat", "n_ctx", "port", "idle_s"}),
    "tasks": frozenset({"requests", "requests_sha256", "answered", "items", "add_bos", "n_ctx"})
    | {"task", "n_shot", "limit"},
}

Ids = Sequence[int]


class Engine(Protocol):
    """A loaded model. `step_size`: tokens of a prompt that are computed at a time; `text`: a Tokenizer."""

    text: Any
    n_vocab: int
    max_length: int
    step_size: int

    def loaded(self) -> dict[str, Any]:
        """The fields of the `loaded` event."""
        ...

    def memory(self) -> dict[str, float]:
        """What the runtime itself says of its memory, in MiB, for the `memory` events."""
        ...

    def cache(self) -> Any:
        """An empty KV cache of one sequence."""
        ...

    def feed(self, ids: Ids, cache: Any) -> None:
        """A prompt, logits for its last token alone; done when it returns."""
        ...

    def step(self, token: int, cache: Any) -> None:
        """One token and its logits; done when it returns."""
        ...

    def generate(self, ids: Ids, n: int) -> tuple[int, list[int], list[int]]:
        """Greedy, no stop at EOS: the time of submitting, the times when each id was on the host, the ids."""
        ...

    def stream(
        self, ids: Ids, n: int, temperature: float, seed: int, *, top_k: int = 0, top_p: float = 1.0,
        repeat_penalty: float = 1.0,
    ) -> Iterator[int]:  # fmt: skip
        """The ids that follow, at most n, each as soon as it is on the host. Temperature 0 is greedy; `top_k` 0 and
        `top_p` 1 (the defaults) leave all tokens in, `repeat_penalty` 1 is none: over the last 64 tokens."""
        ...

    def rows(self, sequences: Sequence[Ids], cache: Any, first: int) -> Any:
        """float32 logits (sequences, positions from `first` on, n_vocab) of sequences of one length; `cache` holds
        what they follow (as many sequences), or is None."""
        ...

    def kept(self, cache: Any, n: int) -> bool:
        """Cuts a cache of one sequence to its first n tokens; False where its kind cannot be cut."""
        ...

    def forked(self, cache: Any, n: int) -> Any:
        """The cache of one sequence as one of n sequences, itself unchanged; None where its kind cannot be."""
        ...


class Run:
    """A request being answered by a loaded engine."""

    def __init__(self, request: Mapping[str, Any], events: Any, engine: Engine) -> None:
        self.request, self.events, self.engine = request, events, engine

    def number(self, name: str, least: int = 1) -> int:
        return session.number(self.request, name, least)


def kinds() -> dict[str, Callable[[Run], None]]:
    """What every engine can be asked."""
    return {
        **{
            "bench": speed.bench,
            "app": speed.app,
            "sustained": speed.sustained,
            "quality": quality.quality,
            "logits": quality.logits_file,
        },
        **{
            "rolling": quality.rolling,
            "tokens": quality.count_tokens,
            "tasks": tasks.tasks,
            "answer": answering.answer,
            "serve": serving.serve,
        },
    }


def answer(
    request: dict[str, Any],
    events: Any,
    load: Callable[[dict[str, Any], Path], Engine],
    can: Mapping[str, Callable[[Run], None]],
) -> None:
    """Loads, says what is in effect, and does what is asked. `load` takes the request and the model's folder.

    `tokens` loads the vocabulary alone.
    """
    kind = request["kind"]
    session.refuse_unknown(request, EVERY | CONTEXT | PARAMETERS[kind])
    try:
        with session.model_folder(session.need(request, "model")) as folder:
            engine: Any = VocabularyOnly(folder) if kind == "tokens" else load(request, folder)
        if kind != "tokens":
            events.emit("loaded", **engine.loaded())
            events.emit("memory", phase="loaded", **session.memory(), **engine.memory())
        can[kind](Run(request, events, engine))
    except scoring.Wrong as error:
        raise session.Failure("run", str(error)) from error
    events.emit("memory", phase="end", **session.memory(), **engine.memory())


class VocabularyOnly:
    """An engine that can tokenise and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.text = tokenizer.Tokenizer(folder)

    def memory(self) -> dict[str, float]:
        return {}
