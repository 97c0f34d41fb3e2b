"""The text that quantizers learn from is never the one that quality is measured on, however it was dressed up."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantfarm import calibration, corpus
from quantfarm.calibration import NEEDED_TOKENS, check
from quantfarm.errors import UsageError
from quantfarm.overlap import PIECE, RUN, SHARE, letters, overlap

WORDS = [f"{a}{b}{c}" for a in ("ka", "ri", "mo", "tu", "sel") for b in ("n", "lt", "rr", "d") for c in "aeiouy"]


def prose(seed: int, words: int = 3000) -> str:
    """Sentences that no other seed has."""
    chance = random.Random(seed)
    said = [chance.choice(WORDS) for _ in range(words)]
    return " ".join(word.capitalize() + "." if n % 9 == 8 else word for n, word in enumerate(said))


def refused(text: str, measured: str) -> str:
    with pytest.raises(UsageError) as error:
        check(text.encode(), "learn.txt", measured.encode(), "measure.txt")
    return str(error.value)


def test_texts_of_their_own_are_no_overlap() -> None:
    check(prose(1).encode(), "learn.txt", prose(2).encode(), "measure.txt")


def test_the_default_text_shares_nothing_with_the_default_evaluation_text_and_is_the_same_each_time() -> None:
    text = calibration.default_text()
    check(text, "default", corpus.held_out_text(), "held out")
    assert overlap(text.decode(), corpus.held_out_text().decode()) is None
    calibration.default_text.cache_clear()
    assert calibration.default_text() == text
    assert calibration.BOUND <= len(text) <= calibration.BOUND + calibration.OF_EACH + 1


def test_of_the_default_text_no_piece_is_held_out() -> None:
    ours, held_out = letters(calibration.default_text().decode()), letters(corpus.held_out_text().decode())
    known = {held_out[at : at + 2 * PIECE] for at in range(len(held_out) - 2 * PIECE)}
    assert not any(ours[at : at + 2 * PIECE] in known for at in range(len(ours) - 2 * PIECE))


def test_the_evaluation_text_itself_is_refused() -> None:
    assert "is the text that quality is measured on" in refused(prose(1), prose(1))


def test_all_of_the_training_part_is_refused_by_the_passage_that_some_module_copied() -> None:
    everything = "\n".join(corpus.documents(held_out=False))
    found = overlap(everything, held_out := corpus.held_out_text().decode())
    if found is None:
        pytest.fail("this Python's library copies nothing between modules: take another example")
    assert found.run >= RUN
    line = held_out.splitlines()[found.evaluation_line - 1]
    assert found.passage.split()[0] in line


def test_the_message_says_which_passage_and_where_in_both() -> None:
    stolen = prose(3, 80)
    said = refused(f"{prose(1)}\n\n{stolen}\n{prose(4)}", f"{prose(2)}\n{prose(5)}\n{prose(6)}\n{stolen}")
    assert "learn.txt line 3" in said
    assert "measure.txt line 4" in said
    assert stolen[:40] in said
    assert f"{len(letters(stolen)):,} letters and digits in a row" in said
    assert "give another" in said


@pytest.mark.parametrize("contained", ["calibration", "evaluation"])
def test_one_within_the_other_is_refused(contained: str) -> None:
    part = prose(1)
    whole = prose(2) + part + prose(3)
    assert "letters and digits in a row" in (
        refused(part, whole) if contained == "calibration" else refused(whole, part)
    )


def test_an_evaluation_text_of_a_few_words_is_found_too() -> None:
    assert overlap(prose(1) + " Nothing like this. " + prose(2), "nothing\nlike THIS")
    assert overlap(prose(1), "nothing like this") is None
    assert overlap(prose(1), "") is None
    assert overlap("", "") is None


def test_sentences_taken_one_by_one_are_found_by_their_share() -> None:
    """Each is shorter than a run that is refused."""
    sentences = re.findall(r"[^.]+\.", prose(2))
    mixed = " ".join(f"{' '.join(sentences[n : n + 2])} {prose(100 + n, 12)}" for n in range(0, len(sentences), 8))
    found = overlap(prose(1) + mixed, prose(2))
    assert found is not None
    assert found.run == 0
    assert found.share > SHARE
    assert "% of the pieces" in refused(prose(1) + mixed, prose(2))


@pytest.mark.parametrize("size", [0, 1, NEEDED_TOKENS - 1])
def test_a_text_that_is_too_short_is_refused_with_what_it_has_and_what_is_needed(size: int) -> None:
    said = refused("x" * size, prose(1))
    assert f"{size:,} characters" in said
    assert f"{NEEDED_TOKENS:,} tokens" in said


def test_what_is_no_utf8_is_refused_with_the_byte() -> None:
    with pytest.raises(UsageError, match=r"learn.txt is not UTF-8 text \(byte 5000\)"):
        check(prose(1).encode()[:5000] + b"\xff" + prose(1).encode(), "learn.txt", b"", "measure.txt")


def _respaced(text: str, chance: random.Random) -> str:
    return "".join(chance.choice((" ", "\n", "\t", "  \n", "\u00a0")) if c == " " else c for c in text)


def _recased(text: str, chance: random.Random) -> str:
    return "".join(c.upper() if chance.random() < 0.5 else c.lower() for c in text)


def _repointed(text: str, chance: random.Random) -> str:
    return "".join(c + chance.choice(("", "", ",", "-", "“")) for c in text if c != ".")


@given(
    seed=st.integers(0, 10**6),
    before=st.integers(0, 400),
    after=st.integers(0, 400),
    words=st.integers(RUN // 3, 200),
    dressed=st.sampled_from([_respaced, _recased, _repointed]),
)
@settings(max_examples=60, deadline=None)
def test_a_stolen_passage_is_found_wherever_it_stands_and_however_it_is_set(
    seed: int, before: int, after: int, words: int, dressed: Callable[[str, random.Random], str]
) -> None:
    stolen = prose(seed, words)
    ours = f"{prose(seed + 1, before)} {dressed(stolen, random.Random(seed))} {prose(seed + 2, after)}"
    theirs = f"{prose(seed + 3, after)} {stolen} {prose(seed + 4, before)}"
    found = overlap(ours, theirs)
    assert found is not None
    assert found.run >= len(letters(stolen))


@given(st.text(alphabet="ab", min_size=RUN, max_size=800), st.text(alphabet="ab", min_size=RUN, max_size=800))
@settings(max_examples=60, deadline=None)
def test_a_run_is_found_exactly_when_there_is_one(one: str, other: str) -> None:
    """Also in texts that repeat themselves."""
    there = any(one[at : at + RUN] in other for at in range(len(one) - RUN + 1))
    found = overlap(one, other)
    assert bool(found and found.run) == there
    assert not there or (found and found.run >= RUN)


@given(st.text(max_size=300), st.text(max_size=300))
@settings(deadline=None)
def test_no_text_makes_it_stumble(one: str, other: str) -> None:
    found = overlap(one, other)
    back = overlap(other, one)
    assert (found is None) == (back is None)
    if letters(one) and letters(one) == letters(other):
        assert found is not None


@given(st.text(max_size=200))
@settings(deadline=None)
def test_letters_and_digits_of_a_text_are_those_of_its_lines(text: str) -> None:
    assert letters(text) == "".join(letters(line) for line in text.splitlines())
