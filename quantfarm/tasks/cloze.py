"""The built-in task: which of four texts goes on as the held-out reference text did?

Its items are made from the text that perplexity is measured on, so accuracy is a real figure wherever there is a
Python, with no download. The three wrong continuations are taken from elsewhere in the same text, so they are as
plausible as text, and as long in characters, so that neither length nor style gives the answer away.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from quantfarm.errors import UsageError

ITEMS = 1000
#: In characters.
CONTEXT, CONTINUATION = 320, 48
CHOICES = 4
#: Places looked at for one text: prose and code need about ten.
TRIES = 100_000
SEED = 20240517
#: The definition: a change of what is drawn makes another task.
VERSION = "1"


def items(text: str, count: int = ITEMS) -> list[Mapping[str, Any]]:
    """{text, choices, gold} of each item; the same text gives the same items on every machine and Python.

    Raises UsageError for a text too short to draw from.
    """
    size = CONTEXT + CONTINUATION
    if len(text) < 4 * size:
        raise UsageError(f"the text has {len(text)} characters: the cloze needs at least {4 * size}")
    draw = random.Random(SEED)  # noqa: S311 - a seed for ever, not a secret; randrange is the same in every Python
    return [_item(text, draw, size) for _ in range(count)]


def _item(text: str, draw: random.Random, size: int) -> Mapping[str, Any]:
    start = _start(text, draw, size)
    middle = start + CONTEXT
    true = text[middle : middle + CONTINUATION]
    wrong: list[str] = []
    for _ in range(TRIES):
        if len(wrong) == CHOICES - 1:
            break
        other = draw.randrange(len(text) - CONTINUATION)
        found = text[other : other + CONTINUATION]
        # Other text of the same length that begins as the true one does: with a space, a line, or within a word.
        if _fits(found, true) and found not in (true, *wrong) and abs(other - middle) > size:
            wrong.append(found)
    if len(wrong) < CHOICES - 1:
        raise UsageError("the text holds too little that differs to make a cloze of")
    gold = draw.randrange(CHOICES)
    choices = [*wrong[:gold], true, *wrong[gold:]]
    return {"text": text[start:middle], "choices": choices, "gold": gold}


def _start(text: str, draw: random.Random, size: int) -> int:
    """Of an item whose continuation begins a word and says something: not the middle of an empty region."""
    for _ in range(TRIES):
        start = draw.randrange(len(text) - size)
        middle = start + CONTEXT
        true = text[middle : middle + CONTINUATION]
        if true[0] == " " and true[1].isalnum() and len(true.split()) > 3 and not text[middle - 1].isspace():
            return start
    raise UsageError("the text holds too few words to make a cloze of")


def _fits(found: str, true: str) -> bool:
    return found[0] == true[0] and found[1].isalnum() and len(found.split()) > 3
