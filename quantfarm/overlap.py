"""What two texts share beyond chance.

They are compared by their letters and digits alone, in lower case: what whitespace, line breaks, case or punctuation
were changed does not hide a copy. That is how GPT-4's report looks for test questions in training text
(https://arxiv.org/abs/2303.08774, appendix C: substrings of 50 characters without spaces and symbols).
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

#: Letters and digits in a row that no two texts share by chance; licences and tables of a few lines are shorter.
RUN = 200
#: Letters and digits of a piece, and the share of one text's pieces that may be found in the other.
PIECE, SHARE = 50, 0.02
#: Characters of a passage that a message shows.
SHOWN = 60
ODD = re.compile(r"[\W_]+")


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


def overlap(calibration: str, evaluation: str) -> Overlap | None:
    """What the two share, where it is more than chance: a run of RUN letters and digits, more than SHARE of one's
    pieces, or all of a shorter text.
    """
    ours, theirs = letters(calibration), letters(evaluation)
    there, here = sorted(found_in(pieces(theirs), ours)), sorted(found_in(pieces(ours), theirs))
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


def pieces(text: str) -> frozenset[str]:
    """A text cut into pieces; what is left over at its end is in none."""
    return frozenset(text[at : at + PIECE] for at in range(0, len(text) - PIECE + 1, PIECE))


def found_in(pieces: frozenset[str], text: str) -> Iterator[int]:
    """Where one of the pieces is in a text, at any place."""
    return (at for at in range(len(text) - PIECE + 1) if text[at : at + PIECE] in pieces)


def _distinct(text: str, places: list[int]) -> int:
    return len({text[at : at + PIECE] for at in places})


def _share(text: str, found: int) -> float:
    return found / len(pieces(text)) if len(text) >= PIECE else 0.0


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
