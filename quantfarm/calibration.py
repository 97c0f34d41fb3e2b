"""The text that quantizers learn from (imatrix, AWQ, GPTQ), and the proof that quality is not measured on it."""

from __future__ import annotations

import functools
import hashlib

from quantfarm import corpus
from quantfarm.errors import UsageError
from quantfarm.overlap import PIECE, Overlap, found_in, letters, overlap, pieces

#: Tokens of a chunk, as llama-imatrix has them, and the fewest chunks that say anything of a model.
CHUNK, LEAST_CHUNKS = 512, 8
NEEDED_TOKENS = CHUNK * LEAST_CHUNKS
#: Characters of English that a token stands for, to say how much a text lacks.
CHARACTERS_EACH = 4
#: The default text: bytes in all, and of each document.
BOUND, OF_EACH = 512 * 1024, 32 * 1024

WHAT_TO_DO = "Quality would be measured on what was learnt: give another calibration text, or another text"


@functools.cache
def default_text() -> bytes:
    """A slice of the reference corpus's training part: beginnings of modules, in an order that has no meaning, without
    those that share a passage with the held-out part.
    """
    held_out = pieces(letters(corpus.held_out_text().decode()))
    documents = sorted(corpus.documents(held_out=False), key=lambda text: hashlib.sha256(text.encode()).digest())
    chosen: list[str] = []
    size = 0
    for document in documents:
        beginning = _beginning(document)
        if next(found_in(held_out, letters(beginning)), None) is None:
            chosen.append(beginning)
            size += len(beginning.encode()) + 1
        if size >= BOUND:
            break
    return "\n".join(chosen).encode()


def _beginning(document: str) -> str:
    """Whole lines."""
    return document if len(document) <= OF_EACH else document[: document.rfind("\n", 0, OF_EACH) + 1]


def decoded(data: bytes, called: str) -> str:
    """Raises UsageError for what is no UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"the calibration text {called} is not UTF-8 text (byte {error.start})") from error


def check(calibration: bytes, called: str, evaluation: bytes, measured: str) -> None:
    """Raises UsageError for a calibration text that is too short, no UTF-8, or that shares text with what quality is
    measured on. `called`, `measured`: how the user knows the two.
    """
    text = decoded(calibration, called)
    check_length(calibration, called)
    if hashlib.sha256(calibration).digest() == hashlib.sha256(evaluation).digest():
        raise UsageError(f"the calibration text {called} is the text that quality is measured on. {WHAT_TO_DO}")
    if found := overlap(text, evaluation.decode("utf-8", errors="replace")):
        raise UsageError(_message(found, called, measured))


def check_length(calibration: bytes, called: str, needed: int = NEEDED_TOKENS) -> None:
    """Raises UsageError for a text that cannot have so many tokens: no tokenizer makes more than there are bytes."""
    if len(calibration) < needed:
        has = f"{len(decoded(calibration, called)):,} characters"
        raise UsageError(
            f"the calibration text {called} has {has}, and {needed:,} tokens are needed "
            f"(about {needed * CHARACTERS_EACH:,} characters)"
        )


def _message(found: Overlap, called: str, measured: str) -> str:
    where = f"{called} line {found.calibration_line}, {measured} line {found.evaluation_line}"
    if found.run:
        what = f"{found.run:,} letters and digits in a row are in both"
    else:
        what = f"{100 * found.share:.1f} % of the pieces of {PIECE} letters and digits of one are in the other"
    return (
        f"the calibration text {called} overlaps the text that quality is measured on ({measured}): {what}, "
        f"as in “{found.passage}” ({where}). {WHAT_TO_DO}"
    )
