"""The part of a `tasks` run that is the same for every runtime: requests in, tokens by lm-eval's rule, items out.

Standard library only. A runner loads this file by the path in its request (`items`) and calls `answer` with its
own `Model`; docs/events.md says what the files and events hold.
"""

from __future__ import annotations

import hashlib
import json
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

#: Seconds between two words of progress.
PATIENCE = 1.0


@dataclass(frozen=True)
class Choice:
    """One continuation of a document: `context` is the same object for choices that share it."""

    context: array[int]
    continuation: array[int]
    truncated: bool = False

    @property
    def inputs(self) -> array[int]:
        """What the model is given: all but the last token, whose successor nobody asks for."""
        return self.context + self.continuation[:-1]


@dataclass(frozen=True)
class Item:
    """A document to be scored: its line of the requests file and its choices in tokens."""

    line: Mapping[str, Any]
    choices: tuple[Choice, ...]

    @property
    def truncated(self) -> bool:
        return any(choice.truncated for choice in self.choices)


@dataclass(frozen=True)
class Score:
    """Of each choice: the log-likelihood in nats, and whether every token was the likeliest."""

    item: Item
    ll: Sequence[float]
    greedy: Sequence[bool]


class Model(Protocol):
    """What a runtime brings. `prefix`: the token that stands for an empty context (BOS, else EOS)."""

    prefix: int
    max_length: int
    add_bos: bool

    def encode(self, text: str, add_special: bool) -> Sequence[int]:
        """Token ids, special tokens in the text parsed; with BOS where `add_special` and the tokenizer adds it."""
        ...

    def score(self, items: Sequence[Item]) -> Iterator[Score]:
        """Every item once, in any order; all are of one group, so that they may share what they begin with."""
        ...


Emit = Callable[..., None]


# ------------------------------------------------------------------ files


class Requests:
    """A requests file. Raises ValueError where it is not what docs/events.md says."""

    def __init__(self, path: str, sha256: str | None) -> None:
        raw = Path(path).read_bytes()
        self.sha256 = hashlib.sha256(raw).hexdigest()
        if sha256 and sha256 != self.sha256:
            raise ValueError(f"{path} is not the requests file that was asked for")
        lines = [json.loads(line) for line in raw.splitlines()]
        if not lines or "task" not in lines[0] or len(lines) != 1 + lines[0]["n_docs"]:
            raise ValueError(f"{path} is not a whole requests file")
        self.head: dict[str, Any] = lines[0]
        self.documents: list[dict[str, Any]] = lines[1:]

    @property
    def n_requests(self) -> int:
        return sum(len(document["continuations"]) for document in self.documents)


def answered(path: str | None, documents: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """Items of an earlier run by document; what is torn or is of other requests is passed over."""
    if not path:
        return {}
    known = {document["doc"]: document for document in documents}
    found: dict[int, dict[str, Any]] = {}
    for line in Path(path).read_bytes().splitlines():
        try:
            item = json.loads(line)
            document = known[item["doc"]]
            whole = len(item["ll"]) == len(item["greedy"]) == len(document["continuations"])
            if item["event"] == "item" and whole and item["doc_hash"] == document["doc_hash"]:
                found[item["doc"]] = item
        except (ValueError, KeyError, TypeError):
            continue
    return found


# ------------------------------------------------------------------ tokens


def encode_pair(model: Model, context: str, continuation: str, memo: dict[str, array[int]]) -> tuple[Any, Any]:
    """(context, continuation) in tokens: lm-eval's `TemplateLM.loglikelihood` and `_encode_pair` (0.4.10 and later).

    `memo` keeps contexts, which a document's choices mostly share: the very same object for all of them.
    """
    bare = context.rstrip()
    end = context[len(bare) :] + continuation
    if not bare:
        ids = array("i", model.encode(end, False))
        return (array("i", [model.prefix]), ids) if ids[0] != model.prefix else (ids[:1], ids[1:])
    if bare not in memo:
        memo[bare] = array("i", model.encode(bare, True))
    return memo[bare], array("i", model.encode(bare + end, True))[len(memo[bare]) :]


def cut(context: array[int], continuation: array[int], max_length: int) -> Choice:
    """The last max_length + 1 tokens, as lm-eval keeps them. Raises ValueError where the continuation is longer."""
    if not continuation:
        raise ValueError("a continuation that has no token of its own")
    over = len(context) + len(continuation) - (max_length + 1)
    if over <= 0:
        return Choice(context, continuation)
    if over >= len(context):
        raise ValueError(f"a continuation of {len(continuation)} tokens, the model takes {max_length}")
    return Choice(context[over:], continuation, truncated=True)


def item_of(document: Mapping[str, Any], model: Model) -> Item:
    """Raises ValueError naming the document."""
    given, ends = document["context"], document["continuations"]
    contexts = given if isinstance(given, list) else [given] * len(ends)
    memo: dict[str, array[int]] = {}
    choices: list[Choice] = []
    for context, end in zip(contexts, ends, strict=True):
        try:
            choices.append(cut(*encode_pair(model, context, end, memo), model.max_length))
        except ValueError as error:
            raise ValueError(f"document {document['doc']} has {error}") from error
    return Item(document, tuple(choices))


def shared_length(sequences: Sequence[array[int]]) -> int:
    """How many tokens all begin with."""
    first, last = min(sequences), max(sequences)  # what these two share, all that lie between them share
    n = min(len(first), len(last))
    if first[:n] == last[:n]:
        return n
    low = 0
    while n - low > 1:  # the longest equal beginning, by halving: slices compare at C's speed
        middle = (low + n) // 2
        low, n = (middle, n) if first[:middle] == last[:middle] else (low, middle)
    return low


# ------------------------------------------------------------------ answering


def fields(score: Score) -> dict[str, Any]:
    """An `item` event: all that the figures need, so that a trace stands by itself."""
    line = score.item.line
    about = {name: line[name] for name in ("doc", "doc_hash", "group", "gold", "lengths")}
    return about | {
        "ll": list(score.ll),
        "greedy": list(score.greedy),
        "n_tokens": [len(choice.continuation) for choice in score.item.choices],
        "truncated": score.item.truncated,
    }


class Progress:
    """Says how far it is, once a second."""

    def __init__(self, emit: Emit) -> None:
        self._emit, self._told = emit, time.monotonic()

    def __call__(self, done: int, of: int, what: str) -> None:
        if (now := time.monotonic()) - self._told > PATIENCE:
            self._told = now
            self._emit("progress", done=done, of=of, what=what)


def by_group(items: Sequence[Item]) -> list[list[Item]]:
    """Items of one group together, in the order in which the groups first come."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.line["group"], []).append(item)
    return list(found.values())


def answer(request: Mapping[str, Any], model: Model, emit: Emit) -> None:
    """Prints `tasks`, then one `item` a document: those answered before, then the rest as they are scored.

    `emit(event, **fields)` writes an event. Raises ValueError for requests that cannot be scored.
    """
    asked = Requests(str(request["requests"]), request.get("requests_sha256"))
    before = answered(request.get("answered"), asked.documents)
    progress = Progress(emit)
    items: list[Item] = []
    for document in asked.documents:
        items.append(item_of(document, model))
        progress(len(items), len(asked.documents), "tokenising")
    emit(
        "tasks",
        **asked.head,
        n_requests=asked.n_requests,
        requests_sha256=asked.sha256,
        add_bos=model.add_bos,
        max_length=model.max_length,
        truncated=sum(item.truncated for item in items),
        answered=len(before),
    )
    for old in before.values():
        emit("item", **{key: value for key, value in old.items() if key not in ("event", "t")} | {"cached": True})
    done, rest = len(before), [item for item in items if item.line["doc"] not in before]
    for group in by_group(rest):
        for score in model.score(group):
            done += 1
            emit("item", **fields(score))
            progress(done, len(items), "items")
