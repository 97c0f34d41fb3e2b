"""The text that quantizers learn from (imatrix, AWQ, GPTQ), and the proof that quality is not measured on it.

Two texts are compared by their letters and digits alone, in lower case: what whitespace, line breaks, case or
punctuation were changed does not hide a copy. That is how GPT-4's report looks for test questions in training text
(https://arxiv.org/abs/2303.08774, appendix C: substrings of 50 characters without spaces and symbols).
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from quantfarm import corpus
from quantfarm.errors import UsageError

#: Tokens of a chunk, as llama-imatrix has them, and the fewest chunks that say anything of a model.
CHUNK, LEAST_CHUNKS = 512, 8
NEEDED_TOKENS = CHUNK * LEAST_CHUNKS
#: Characters of English that a token stands for, to say how much a text lacks.
CHARACTERS_EACH = 4
#: Letters and digits in a row that no two texts share by chance; licences and tables of a few lines are shorter.
RUN = 200
#: Letters and digits of a piece, and the share of one text's pieces that may be found in the other.
PIECE, SHARE = 50, 0.02
#: The default text: bytes in all, and of each document.
BOUND, OF_EACH = 512 * 1024, 32 * 1024
#: Characters of a passage that a message shows.
SHOWN = 60
ODD = re.compile(r"[\W_]+")

WHAT_TO_DO = "Quality would be measured on what was learnt: give another calibration text, or another text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What two texts share. `run`: letters and digits in a row (0: only shorter pieces); lines count from 1."""

    run: int
    share: float  # the greater share of one text's pieces that the other has, too
    passage: str
    calibration_line: int
    evaluation_line: int


def letters(text: str) -> str:
    """Its letters and digits in lower case."""
    return ODD.sub("", unicodedata.normalize("NFKC", text).casefold())


@functools.cache
def default_text() -> bytes:
    """A slice of the reference corpus's training part: beginnings of modules, in an order that has no meaning, without
    those that share a passage with the held-out part.
    """
    held_out = _pieces(letters(corpus.held_out_text().decode()))
    documents = sorted(corpus.documents(held_out=False), key=lambda text: hashlib.sha256(text.encode()).digest())
    chosen: list[str] = []
    size = 0
    for document in documents:
        beginning = _beginning(document)
        if next(_found(held_out, letters(beginning)), None) is None:
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
    if len(calibration) < NEEDED_TOKENS:  # no tokenizer makes more tokens than there are bytes
        raise too_short(called, f"{len(text):,} characters")
    if hashlib.sha256(calibration).digest() == hashlib.sha256(evaluation).digest():
        raise UsageError(f"the calibration text {called} is the text that quality is measured on. {WHAT_TO_DO}")
    if found := overlap(text, evaluation.decode("utf-8", errors="replace")):
        raise UsageError(_message(found, called, measured))


def too_short(called: str, has: str) -> UsageError:
    """`has`: what there is of it, in tokens or characters."""
    return UsageError(
        f"the calibration text {called} has {has}, and {NEEDED_TOKENS:,} tokens are needed "
        f"({LEAST_CHUNKS} chunks of {CHUNK}; about {NEEDED_TOKENS * CHARACTERS_EACH:,} characters)"
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


def overlap(calibration: str, evaluation: str) -> Overlap | None:
    """What the two share, where it is more than chance: a run of RUN letters and digits, more than SHARE of one's
    pieces, or all of a shorter text.
    """
    ours, theirs = letters(calibration), letters(evaluation)
    there, here = sorted(_found(_pieces(theirs), ours)), sorted(_found(_pieces(ours), theirs))
    share = max(_share(theirs, _distinct(ours, there)), _share(ours, _distinct(theirs, here)))
    at, run = _run(ours, theirs, there), 0
    if at is not None:
        at, run = _whole(ours, theirs, at)
    elif share > SHARE:
        at = there[0] if there else ours.index(theirs[here[0] : here[0] + PIECE])
    elif (small := min(ours, theirs, key=len)) and len(small) < PIECE and small in ours and small in theirs:
        at, run, share = ours.index(small), len(small), 1.0
    if at is None:
        return None
    same = theirs.index(ours[at : at + (run or PIECE)])
    line, passage = _place(calibration, at)
    return Overlap(
        run=run,
        share=share,
        passage=passage,
        calibration_line=line,
        evaluation_line=_place(evaluation, same)[0],
    )


def _pieces(text: str) -> frozenset[str]:
    """A text cut into pieces; what is left over at its end is in none."""
    return frozenset(text[at : at + PIECE] for at in range(0, len(text) - PIECE + 1, PIECE))


def _found(pieces: frozenset[str], text: str) -> Iterator[int]:
    """Where one of the pieces is in a text, at any place."""
    return (at for at in range(len(text) - PIECE + 1) if text[at : at + PIECE] in pieces)


def _distinct(text: str, places: list[int]) -> int:
    return len({text[at : at + PIECE] for at in places})


def _share(text: str, found: int) -> float:
    return found / len(_pieces(text)) if len(text) >= PIECE else 0.0


def _run(ours: str, theirs: str, places: list[int]) -> int | None:
    """Where in `ours` RUN characters begin that `theirs` has as well. Each such run holds whole pieces of `theirs`, so
    that it is near one of `places`, where a piece was found.
    """
    if not places or len(theirs) < RUN:
        return None
    known = {hash(theirs[at : at + RUN]) for at in range(len(theirs) - RUN + 1)}
    looked = 0
    for place in places:
        first = max(looked, place - RUN + PIECE)
        for at in range(first, min(place, len(ours) - RUN) + 1):
            if hash(ours[at : at + RUN]) in known and ours[at : at + RUN] in theirs:
                return at
        looked = max(looked, place + 1)
    return None


def _whole(ours: str, theirs: str, at: int) -> tuple[int, int]:
    """Begin in `ours` and length of the whole run that RUN shared characters are part of."""
    same = theirs.index(ours[at : at + RUN])
    end = RUN
    while at + end < len(ours) and same + end < len(theirs) and ours[at + end] == theirs[same + end]:
        end += 1
    return at, end


def _place(text: str, at: int) -> tuple[int, str]:
    """The line of a text that its letter or digit number `at` is on, and what it reads from there."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        here = len(letters(line))
        if at < here:
            return number, _shown([_from(line, at), *lines[number : number + 5]])
        at -= here
    return len(lines), ""


def _from(line: str, at: int) -> str:
    """A line from its letter or digit number `at`."""
    ends = bisect.bisect_left(range(len(line)), at + 1, key=lambda end: len(letters(line[:end])))
    return line[ends - 1 :]


def _shown(lines: list[str]) -> str:
    words = " ".join(" ".join(line[: 4 * SHOWN] for line in lines).split())
    return words if len(words) <= SHOWN else words[:SHOWN].rstrip() + "…"
