"""Log-likelihoods of continuations under a loaded model: its side of runners/task_items.py.

Loaded by path; `session` and `scoring` are put here by runners/shared/session.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

session: Any = None
scoring: Any = None


class TaskModel:
    """What `task_items.answer` asks of a runtime. What a document's choices share is computed once, and what it
    shares with the document before is kept."""

    def __init__(self, run: Any, items: Any) -> None:
        self.run, self.engine, self.items = run, run.engine, items
        asked, engine = run.request.get("add_bos"), run.engine
        self.add_bos = engine.text.bos is not None if asked is None else bool(asked)
        self.max_length = min(run.request.get("n_ctx") or engine.max_length, engine.max_length)
        self.prefix = engine.text.prefix
        if self.prefix is None or (self.add_bos and engine.text.bos_id is None):
            raise session.Failure("run", "the vocabulary has neither BOS nor EOS to begin with")
        self._cache, self._held = engine.cache(), list[int]()

    def encode(self, text: str, add_special: bool) -> list[int]:
        ids = self.engine.text.encode(text, bos=False, special=True)
        bos = [self.engine.text.bos_id] if add_special and self.add_bos else []
        return bos + ids if ids[:1] != bos else ids

    def score(self, items: Sequence[Any]) -> Iterator[Any]:
        for item in sorted(items, key=lambda item: item.choices[0].context.tolist()):  # neighbours share most
            found = self._choices(item.choices)
            yield self.items.Score(item, [ll for ll, _ in found], [greedy for _, greedy in found])

    def _choices(self, choices: Sequence[Any]) -> list[tuple[float, bool]]:
        inputs = [choice.inputs.tolist() for choice in choices]
        firsts = [len(ids) - len(c.continuation) for ids, c in zip(inputs, choices, strict=True)]
        shared = min(self.items.shared_length([choice.inputs for choice in choices]), *firsts, len(inputs[0]) - 1)
        cache = self._following(inputs[0][:shared], len(choices))
        shared = shared if cache is not None else 0
        longest, least = max(map(len, inputs)) - shared, min(firsts) - shared
        padded = [(ids[shared:] + [ids[-1]] * longest)[:longest] for ids in inputs]
        logits = self.engine.rows(padded, cache, least)
        found: list[tuple[float, bool]] = []
        for row, first, choice in zip(logits, firsts, choices, strict=True):
            start, n = first - shared - least, len(choice.continuation)
            found.append(scoring.log_likelihood(row[start : start + n], choice.continuation.tolist()))
        return found

    def _following(self, prefix: list[int], n: int) -> Any:
        """A cache of n sequences that holds the prefix; None where that is not to be had."""
        if not prefix:
            return None
        same = next((i for i, (a, b) in enumerate(zip(prefix, self._held, strict=False)) if a != b), None)
        same = min(len(prefix), len(self._held)) if same is None else same
        if not self.engine.kept(self._cache, same):
            return None
        if same < len(prefix):
            self.engine.feed(prefix[same:], self._cache)
        self._held = prefix
        return self.engine.forked(self._cache, n)


def tasks(run: Any) -> None:
    items = session.load_by_path("task_items", str(session.need(run.request, "items")))
    try:
        items.answer(run.request, TaskModel(run, items), run.events.emit)
    except (ValueError, OSError, KeyError) as error:
        raise session.Failure("run", f"the requests cannot be scored: {error}") from error
