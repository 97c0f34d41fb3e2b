"""The built-in tasks: which of four texts goes on as the held-out reference text did?

Their items are made from the text that perplexity is measured on, so accuracy is a real figure wherever there is a
Python, with no download. The wrong continuations are of the same text, so they are as plausible as text, and as long
in characters, so that neither length nor style gives the answer away.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from quantfarm.errors import UsageError
from quantfarm.tasks import CLOZE, LINE, NEAR

ITEMS = 1000
#: In characters.
CONTEXT, CONTINUATION = 320, 48
SIZE = CONTEXT + CONTINUATION
CHOICES = 4
#: Places looked at for one text: prose and code need about ten.
TRIES = 100_000
SEED = 20240517
#: How far from the true text those of `reference_near` are taken, in characters, and places looked at in there.
VICINITY, FEW_TRIES = 4000, 2000
#: Characters of a line that `reference_line` asks for, its indentation included.
LINES = range(24, 73)
#: The definition: a change of what is drawn makes another task.
VERSION = "1"

Item = Mapping[str, Any]
Draw = Callable[[random.Random], Item]


def items(text: str, count: int = ITEMS, task: str = CLOZE) -> list[Item]:
    """{text, choices, gold} of each item; the same text gives the same items on every machine and Python.

    Raises UsageError for a text too short to draw from.
    """
    if len(text) < 4 * SIZE:
        raise UsageError(f"the text has {len(text)} characters: the cloze needs at least {4 * SIZE}")
    chance = random.Random(SEED)  # noqa: S311 - a seed for ever, not a secret; randrange is the same in every Python
    draw = DRAWN[task](text)
    return [draw(chance) for _ in range(count)]


def _elsewhere(text: str) -> Draw:
    """The wrong ones are from anywhere else."""

    def draw(chance: random.Random) -> Item:
        middle = _middle(text, chance)
        wrong = _wrong(text, chance, middle, range(len(text) - CONTINUATION), TRIES)
        if len(wrong) < CHOICES - 1:
            raise _too_little()
        return _item(chance, text[middle - CONTEXT : middle], text[middle : middle + CONTINUATION], wrong)

    return draw


def _near(text: str) -> Draw:
    """The wrong ones are of the same passage: subject and names do not give the answer away either."""

    def draw(chance: random.Random) -> Item:
        for _ in range(FEW_TRIES):
            middle = _middle(text, chance)
            around = range(max(0, middle - VICINITY), min(len(text) - CONTINUATION, middle + VICINITY))
            wrong = _wrong(text, chance, middle, around, FEW_TRIES)
            if len(wrong) == CHOICES - 1:
                return _item(chance, text[middle - CONTEXT : middle], text[middle : middle + CONTINUATION], wrong)
        raise _too_little()

    return draw


def _line(text: str) -> Draw:
    """Whole lines: the wrong ones are as long and as far indented as the true one."""
    alike: dict[tuple[int, int], list[str]] = {}
    places: list[tuple[int, str]] = []
    at = 0
    for line in text.split("\n"):
        if len(line) in LINES and line == line.rstrip() and len(line.split()) > 2:
            alike.setdefault(_shape(line), []).append(line)
            if at > CONTEXT and not text[at - 2].isspace():
                places.append((at, line))
        at += len(line) + 1
    others = {shape: list(dict.fromkeys(lines)) for shape, lines in alike.items()}
    places = [(place, line) for place, line in places if len(others[_shape(line)]) >= CHOICES]
    if not places:
        raise _too_little()

    def draw(chance: random.Random) -> Item:
        place, true = places[chance.randrange(len(places))]
        pool = [line for line in others[_shape(true)] if line != true]
        wrong = [f"\n{pool.pop(chance.randrange(len(pool)))}" for _ in range(CHOICES - 1)]
        return _item(chance, text[place - 1 - CONTEXT : place - 1], f"\n{true}", wrong)

    return draw


def _shape(line: str) -> tuple[int, int]:
    return len(line), len(line) - len(line.lstrip())


def _item(chance: random.Random, context: str, true: str, wrong: list[str]) -> Item:
    gold = chance.randrange(CHOICES)
    return {"text": context, "choices": [*wrong[:gold], true, *wrong[gold:]], "gold": gold}


def _middle(text: str, chance: random.Random) -> int:
    """Where a continuation begins that begins a word and says something: not the middle of an empty region."""
    for _ in range(TRIES):
        middle = chance.randrange(len(text) - SIZE) + CONTEXT
        true = text[middle : middle + CONTINUATION]
        if true[0] == " " and true[1].isalnum() and len(true.split()) > 3 and not text[middle - 1].isspace():
            return middle
    raise UsageError("the text holds too few words to make a cloze of")


def _wrong(text: str, chance: random.Random, middle: int, among: range, tries: int) -> list[str]:
    """Other text of the same length that begins as the true one does: with a space, a line, or within a word."""
    true, found = text[middle : middle + CONTINUATION], list[str]()
    for _ in range(tries):
        if len(found) == CHOICES - 1:
            break
        place = among[chance.randrange(len(among))]
        other = text[place : place + CONTINUATION]
        if _fits(other, true) and other not in (true, *found) and abs(place - middle) > SIZE:
            found.append(other)
    return found


def _fits(found: str, true: str) -> bool:
    return found[0] == true[0] and found[1].isalnum() and len(found.split()) > 3


def _too_little() -> UsageError:
    return UsageError("the text holds too little that differs to make a cloze of")


DRAWN: Mapping[str, Callable[[str], Draw]] = {CLOZE: _elsewhere, NEAR: _near, LINE: _line}
