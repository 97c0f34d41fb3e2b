"""Answers of tasks from the store, document by document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from quantfarm.statistics.paired import Answers
from storage.choice import Choice
from storage.chunks import Key
from storage.reading import Reader

ITEMS = """
SELECT cell, attempt, doc_hash, "group", correct, correct_norm FROM items
WHERE (cell, attempt) IN (SELECT unnest($cells), unnest($attempts)) ORDER BY cell, attempt, doc
"""


def answers(reader: Reader, chosen: Sequence[Mapping[str, Choice]]) -> list[dict[str, Answers]]:
    """For each: of each accuracy of a task, by the figure's name, the answers of the run that the figure is from."""
    found = [dict(_accuracies(one)) for one in chosen]
    keys = {key for one in found for key in one.values()}
    known = _read(reader, keys) if keys else {}
    nothing = (Answers(right={}, groups={}),) * 2
    return [{m: known.get(key, nothing)[m.startswith("acc_norm_")] for m, key in one.items()} for one in found]


def _accuracies(chosen: Mapping[str, Choice]) -> Iterator[tuple[str, Key]]:
    for metric, choice in chosen.items():
        if choice.run.kind == "tasks" and metric.startswith("acc_") and "stderr_" not in metric:
            yield metric, choice.run.key


def _read(reader: Reader, keys: Iterable[Key]) -> dict[Key, tuple[Answers, Answers]]:
    """By likelihood, and by likelihood per character; the same run once, however many share it."""
    cells, attempts = zip(*keys, strict=True)
    rows = reader.rows(ITEMS, {"cells": list(cells), "attempts": list(attempts)})
    return {key: _answers(list(found)) for key, found in groupby(rows, key=lambda row: (row[0], row[1]))}


def _answers(rows: Sequence[tuple[Any, ...]]) -> tuple[Answers, Answers]:
    seen: Counter[str] = Counter()
    right: dict[str, bool] = {}
    norm: dict[str, bool] = {}
    groups: dict[str, str] = {}
    for _, _, doc_hash, group, correct, correct_norm in rows:
        seen[doc_hash] += 1
        document = f"{doc_hash}#{seen[doc_hash]}"  # a benchmark may ask the same twice
        right[document], norm[document], groups[document] = bool(correct), bool(correct_norm), group
    return Answers(right=right, groups=groups), Answers(right=norm, groups=groups)
