"""Answers of tasks from the store, document by document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from quantfarm.statistics.paired import Answers
from storage.choice import Choice
from storage.reading import Reader

ITEMS = 'SELECT doc_hash, "group", correct, correct_norm FROM items WHERE cell = ? AND attempt = ? ORDER BY doc'


def answers(reader: Reader, chosen: Mapping[str, Choice]) -> dict[str, Answers]:
    """Of each accuracy of a task, by the figure's name: the answers of the run that the figure is from."""
    found: dict[str, Answers] = {}
    for metric, choice in chosen.items():
        if choice.run.kind == "tasks" and metric.startswith("acc_") and "stderr_" not in metric:
            found[metric] = _answers(reader, choice, metric.startswith("acc_norm_"))
    return found


def _answers(reader: Reader, choice: Choice, norm: bool) -> Answers:
    seen: Counter[str] = Counter()
    right: dict[str, bool] = {}
    groups: dict[str, str] = {}
    for row in reader.query(ITEMS, [choice.run.cell, choice.run.attempt]):
        seen[row["doc_hash"]] += 1
        document = f"{row['doc_hash']}#{seen[row['doc_hash']]}"  # a benchmark may ask the same twice
        right[document] = bool(row["correct_norm" if norm else "correct"])
        groups[document] = row["group"]
    return Answers(right=right, groups=groups)
