"""Requests files: what a task asks of a model, in the form that runners read (docs/events.md, Tasks)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quantfarm.errors import FarmError
from quantfarm.tasks import CLOZE, cloze


def doc_hash(document: Mapping[str, Any]) -> str:
    """As lm-eval's: sha256 of the document's JSON. The same question has it under every model."""
    return hashlib.sha256(json.dumps(document, indent=2, ensure_ascii=False).encode()).hexdigest()


def file_of(head: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(line, ensure_ascii=True).encode() + b"\n" for line in (head, *documents))


def head_of(path: Path) -> dict[str, Any]:
    """The first line. Raises FarmError where it is none."""
    try:
        with path.open(encoding="utf-8") as lines:
            head = json.loads(next(lines))
        return {**head, "task": str(head["task"])}
    except (OSError, ValueError, StopIteration, KeyError, TypeError) as error:
        raise FarmError(f"{path} is no requests file: remove it, it is made again") from error


def of_cloze(text: str, limit: int | None, task: str = CLOZE) -> bytes:
    """The requests of a built-in task: it needs no lm-eval, whose answer would be the same bytes' meaning."""
    every = cloze.items(text, task=task)
    chosen = every[:limit]
    head = {
        **{"task": task, "version": cloze.VERSION, "n_shot": 0, "limit": limit, "n_docs": len(chosen)},
        **{"of_docs": len(every), "whole": len(every), "metrics": ["acc"], "lm_eval": ""},
        "source": f"held-out reference text, sha256 {hashlib.sha256(text.encode()).hexdigest()}",
    }
    return file_of(head, [_line(number, document) for number, document in enumerate(chosen)])


def _line(number: int, document: Mapping[str, Any]) -> dict[str, Any]:
    """All choices are equally long: acc_norm would be acc, and is left out."""
    choices: list[str] = document["choices"]
    return {
        "doc": number,
        "doc_hash": doc_hash(document),
        "context": document["text"],
        "continuations": choices,
        "lengths": [len(choice) for choice in choices],
        "gold": document["gold"],
        "group": "",
    }
