"""Answers that are kept: the same artifact, asked in the same manner, is not asked twice.

HOME/answers/<question id>.json   an answer, immutable
HOME/answers/prompts/<sha256>.json   the prompts of a run, as the runner reads them
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from flows.answers.preparing import Question
from quantfarm.answers import Answer, Manner, Writer, question_id
from storage import atomic
from storage.home import Home


def known(home: Home, writer: Writer, question: Question) -> dict[str, Answer]:
    """By prompt. One that cannot be read is asked for again."""
    found: dict[str, Answer] = {}
    for prompt in question.prompts:
        path = home.root / "answers" / f"{question_id(writer, question.manner, prompt)}.json"
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            content = json.loads(path.read_bytes())
            content |= {"writer": Writer(**content["writer"]), "manner": Manner(**content["manner"])}
            found[prompt] = Answer(**content)
    return found


def keep(home: Home, answers: Sequence[Answer]) -> None:
    """What is there already stays. Raises NoRoom."""
    folder = home.folder("answers")
    for answer in answers:
        path = folder / f"{question_id(answer.writer, answer.manner, answer.prompt)}.json"
        with contextlib.suppress(FileExistsError):
            atomic.write_once(path, json.dumps(asdict(answer), ensure_ascii=False, indent=1).encode())


def prompts_file(home: Home, prompts: Sequence[str]) -> Path:
    text = json.dumps(list(prompts), ensure_ascii=False).encode()
    path = home.folder("answers", "prompts") / f"{hashlib.sha256(text).hexdigest()}.json"
    if not path.exists():
        atomic.write_atomic(path, text)
    return path
