"""Who measured under an older holding of a device's lease does not get to write."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from quantfarm.nouns import Token
from storage.fencing import KEPT, Fenced, admit
from storage.home import Home
from storage.journal import Damaged


def token(count: int, lineage: str = "a") -> Token:
    return Token(lineage=lineage, count=count)


def test_an_older_token_is_fenced_and_the_same_and_newer_ones_are_admitted(home: Path) -> None:
    farm = Home(home)
    for count in (3, 3, 4):
        admit(farm, "pi", token(count))
    with pytest.raises(Fenced, match="pi was measured under its lease number 3, and number 4 has written since"):
        admit(farm, "pi", token(3))
    admit(farm, "pi", token(5))


def test_what_was_refused_changes_nothing(home: Path) -> None:
    farm = Home(home)
    admit(farm, "pi", token(7))
    with pytest.raises(Fenced):
        admit(farm, "pi", token(1))
    with pytest.raises(Fenced):
        admit(farm, "pi", token(6))


def test_tokens_are_compared_within_their_lineage_and_device_alone(home: Path) -> None:
    farm = Home(home)
    admit(farm, "pi", token(50))
    admit(farm, "pi", token(1, "b"))  # the device lost its lease file
    admit(farm, "desk", token(1))
    with pytest.raises(Fenced):  # the old lineage is not forgotten for the new one
        admit(farm, "pi", token(49))


def test_many_lineages_are_kept_but_not_without_end(home: Path) -> None:
    farm = Home(home)
    for n in range(3 * KEPT):
        admit(farm, "pi", token(2, f"lineage {n}"))
    with pytest.raises(Fenced):
        admit(farm, "pi", token(1, f"lineage {3 * KEPT - 1}"))
    assert (home / "devices" / "pi" / "token.json").stat().st_size < 100 * KEPT


def test_a_damaged_note_admits_nobody(home: Path) -> None:
    farm = Home(home)
    admit(farm, "pi", token(7))
    (home / "devices" / "pi" / "token.json").write_text("{")
    with pytest.raises(Damaged, match=r"token\.json"):
        admit(farm, "pi", token(8))


def test_of_many_writers_at_once_the_greatest_stays(home: Path) -> None:
    farm, refused = Home(home), list[int]()

    def write(counts: range) -> None:
        for count in counts:
            try:
                admit(farm, "pi", token(count))
            except Fenced:
                refused.append(count)

    threads = [threading.Thread(target=write, args=(range(first, 200, 4),)) for first in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 199 not in refused
    with pytest.raises(Fenced, match="number 199 has written since"):
        admit(farm, "pi", token(198))
