"""Marks from 1 to 5 that people give to answers without knowing who wrote them. Pure.

One mark is of one text to one prompt: variants that wrote the same text share it.
"""

from __future__ import annotations

import hashlib
import math
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from quantfarm.answers import Answer
from quantfarm.statistics.significance import student

LOWEST, HIGHEST = 1, 5
UNIT = "of 5"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A text to a prompt, and every answer that consists of it."""

    prompt: str
    text: str
    answers: tuple[Answer, ...]

    @property
    def key(self) -> tuple[str, str]:
        return (sha256(self.prompt), sha256(self.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """One mark for one variant's answer; `rated_at` is ISO 8601, UTC."""

    rater: str
    rated_at: str
    prompt_set: str
    prompt_sha256: str
    answer_sha256: str
    mark: int
    model: str
    variant: str
    artifact: str
    device: str
    runtime: str
    build: str


def blind(answers: Sequence[Answer], seed: int, rater: str) -> list[Written]:
    """Prompts in their order; of each the texts once, in an order that the seed and the rater give."""
    by_prompt: dict[str, dict[str, list[Answer]]] = {}
    for answer in answers:
        by_prompt.setdefault(answer.prompt, {}).setdefault(answer.text, []).append(answer)
    found: list[Written] = []
    for prompt, texts in by_prompt.items():
        written = [Written(prompt=prompt, text=text, answers=tuple(those)) for text, those in texts.items()]
        written.sort(key=lambda one: one.key)  # not by who was asked first
        random.Random(f"{seed} {rater} {sha256(prompt)}").shuffle(written)  # noqa: S311 - an order, not a secret
        found += written
    return found


def mark(text: str) -> int | None:
    """A mark, or None for what is none."""
    plain = text.strip()
    return int(plain) if plain.isascii() and plain.isdecimal() and LOWEST <= int(plain) <= HIGHEST else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """Of a variant's marks: the mean over prompts, each the mean of its raters; the interval is Student's over
    prompts, None below two of them."""

    value: float
    low: float | None
    high: float | None
    n: int  # prompts
    marks: int
    raters: tuple[str, ...]
    first_at: str
    last_at: str


def mean(ratings: Iterable[Rating]) -> Mean:
    """Of one variant. Raises statistics.StatisticsError where there are none."""
    kept = list(ratings)
    by_prompt: dict[str, list[int]] = {}
    for one in kept:
        by_prompt.setdefault(one.prompt_sha256, []).append(one.mark)
    values = [statistics.fmean(marks) for marks in by_prompt.values()]
    middle, half = statistics.fmean(values), _half_width(values)
    times = sorted(one.rated_at for one in kept)
    return Mean(
        value=middle,
        low=None if half is None else max(float(LOWEST), middle - half),
        high=None if half is None else min(float(HIGHEST), middle + half),
        n=len(values),
        marks=len(kept),
        raters=tuple(sorted({one.rater for one in kept})),
        first_at=times[0],
        last_at=times[-1],
    )


def _half_width(values: Sequence[float]) -> float | None:
    """Of the 95 % interval of a mean: t(n - 1) · s / √n. Marks that are all alike say nothing of their spread:
    the scale's coarseness, s = 1/√12 of a uniform rounding error, is its least."""
    n = len(values)
    if n < 2:
        return None
    spread = max(statistics.stdev(values), 1 / math.sqrt(12))
    return student(n - 1) * spread / math.sqrt(n)


def last(ratings: Iterable[Rating]) -> list[Rating]:
    """The newest mark of each rater for each text and variant, oldest first."""
    newest: dict[tuple[str, ...], Rating] = {}
    for one in ratings:
        key = (one.rater, one.prompt_sha256, one.answer_sha256, one.model, one.variant, one.device, one.runtime)
        newest.pop(key, None)
        newest[key] = one
    return list(newest.values())


def by_variant(ratings: Iterable[Rating]) -> Mapping[tuple[str, str], list[Rating]]:
    """(model, variant) -> its ratings."""
    found: dict[tuple[str, str], list[Rating]] = {}
    for one in ratings:
        found.setdefault((one.model, one.variant), []).append(one)
    return found
