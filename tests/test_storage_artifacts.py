"""The store of artifacts: found by recipe when whole, and never taken for whole when not."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from quantfarm.errors import FarmError
from quantfarm.nouns import Recipe
from storage import processes
from storage.artifacts import Artifacts
from storage.hashes import Hashes
from storage.home import Home
from tests.storing import recipe
from tests.test_storage_files import full_disk

__all__ = ["full_disk"]

CONTENT = b"GGUF" + b"weights" * 1000


@pytest.fixture
def store(home: Path) -> Artifacts:
    return Artifacts(Home(home))


def adopted(store: Artifacts, of: Recipe, content: bytes = CONTENT):
    file = store.partial(of)
    file.write_bytes(content)
    return store.adopt(file, of, bits_per_weight=4.8, types={"Q4_K": 3}, fallbacks=("a",), facts={"n_params": 7})


def test_an_adopted_file_is_moved_in_and_found_by_its_recipe(store: Artifacts) -> None:
    artifact = adopted(store, recipe())
    assert artifact.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert artifact.size == len(CONTENT)
    assert store.find(recipe()) == artifact
    assert store.path(artifact).read_bytes() == CONTENT
    assert not store.partial(recipe()).exists()
    assert store.verify() == []


def test_another_recipe_has_no_artifact(store: Artifacts) -> None:
    adopted(store, recipe("Q4_K_M"))
    assert store.find(recipe("Q5_K_M")) is None


def test_two_recipes_that_make_the_same_bytes_share_one_file(store: Artifacts) -> None:
    one, two = adopted(store, recipe("Q4_K_M")), adopted(store, recipe("Q4_K_S"))
    assert store.path(one) == store.path(two)
    assert store.find(recipe("Q4_K_M")) == one
    assert store.find(recipe("Q4_K_S")) == two
    assert store.all() == sorted([one, two], key=lambda a: a.recipe.id)


def test_a_file_cut_short_is_not_found(store: Artifacts) -> None:
    file = store.path(adopted(store, recipe()))
    file.chmod(0o644)
    file.write_bytes(CONTENT[:-1])
    assert store.find(recipe()) is None
    assert "7003 bytes, 7004 were stored" in store.verify()[0].why


def test_a_changed_byte_is_found_by_verify(store: Artifacts) -> None:
    file = store.path(adopted(store, recipe()))
    file.chmod(0o644)
    file.write_bytes(b"X" + CONTENT[1:])
    assert store.find(recipe()) is not None
    assert "has changed: sha256" in store.verify()[0].why


def test_a_file_that_is_gone_is_not_found_and_verify_says_so(store: Artifacts) -> None:
    artifact = adopted(store, recipe())
    store.path(artifact).unlink()
    assert store.find(recipe()) is None
    with pytest.raises(FarmError, match="is gone"):
        store.path(artifact)
    assert "is gone" in store.verify()[0].why


def test_an_unreadable_recipe_is_named_by_verify_and_made_again(store: Artifacts) -> None:
    adopted(store, recipe())
    entry = store.home.recipes / f"{recipe().id}.json"
    entry.write_text("{")
    assert store.find(recipe()) is None
    assert store.verify()[0].name == f"recipes/{entry.name}"
    assert adopted(store, recipe()) == store.find(recipe())
    assert store.verify() == []


def test_a_recipe_under_anothers_name_is_not_found(store: Artifacts) -> None:
    adopted(store, recipe("Q4_K_M"))
    entry = store.home.recipes / f"{recipe('Q4_K_M').id}.json"
    entry.rename(entry.with_stem(recipe("Q8_0").id))
    assert store.find(recipe("Q8_0")) is None
    assert "holds another recipe" in store.verify()[0].why


KILLED = """
import os, signal, sys
from pathlib import Path
from storage import artifacts, atomic
from storage.home import Home
from tests.storing import recipe
left = int(sys.argv[2])
def mortal(original):
    def replace(*given):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return original(*given)
    return replace
atomic.replace = mortal(atomic.replace)
store = artifacts.Artifacts(Home(Path(sys.argv[1])))
file = store.partial(recipe())
file.write_bytes(b"GGUF" + b"weights" * 1000)
store.adopt(file, recipe())
"""


@pytest.mark.parametrize("step", range(3))
def test_a_kill_while_adopting_leaves_nothing_that_looks_whole(store: Artifacts, step: int) -> None:
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(store.home.root), str(step)], check=False, cwd=root, capture_output=True
    )
    assert done.returncode == -9, done.stderr
    assert store.find(recipe()) is None
    artifact = adopted(store, recipe())
    assert store.find(recipe()) == artifact
    assert store.verify() == []


def test_left_overs_of_dead_makers_are_swept_up_and_those_of_living_ones_stay(store: Artifacts) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        dead = store.home.partial_artifacts / f"{recipe().id}.{processes.mark(child.pid)}.gguf"
        child.communicate(b"\n")
    dead.write_bytes(b"half")
    mine = store.partial(recipe())
    mine.write_bytes(b"half")
    store.partial(recipe("Q8_0"))
    assert not dead.exists()
    assert mine.exists()


def test_a_referred_file_is_used_where_it_lies(store: Artifacts, tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(CONTENT)
    artifact = store.refer(file, recipe())
    assert store.find(recipe()) == artifact
    assert store.path(artifact) == file
    assert not list(store.home.root.rglob("*.gguf"))


def test_a_referred_file_that_was_only_touched_is_still_found(store: Artifacts, tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(CONTENT)
    artifact = store.refer(file, recipe())
    os.utime(file, ns=(1, 1))
    assert store.find(recipe()) == artifact


def test_a_referred_file_with_another_content_of_the_same_size_is_not_found(store: Artifacts, tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(CONTENT)
    store.refer(file, recipe())
    file.write_bytes(b"X" + CONTENT[1:])
    assert store.find(recipe()) is None
    assert "has changed" in store.verify()[0].why


def test_a_hash_is_remembered_until_the_file_looks_changed(home: Path, tmp_path: Path) -> None:
    file, hashes = tmp_path / "big.gguf", Hashes(Home(home))
    file.write_bytes(CONTENT)
    os.utime(file, ns=(10**18, 10**18))
    assert hashes.sha256(file) == hashlib.sha256(CONTENT).hexdigest()
    note = next(Home(home).folder("artifacts", ".hashes").iterdir())
    note.write_text(note.read_text().replace(hashlib.sha256(CONTENT).hexdigest(), "remembered"))
    assert hashes.sha256(file) == "remembered"
    file.write_bytes(CONTENT + b"more")
    assert hashes.sha256(file) == hashlib.sha256(CONTENT + b"more").hexdigest()


def test_a_damaged_note_of_a_hash_is_not_believed(home: Path, tmp_path: Path) -> None:
    file, hashes = tmp_path / "big.gguf", Hashes(Home(home))
    file.write_bytes(CONTENT)
    os.utime(file, ns=(10**18, 10**18))
    hashes.sha256(file)
    note = next(Home(home).folder("artifacts", ".hashes").iterdir())
    for damage in ("", "{", "[1]", "{}", "null"):
        note.write_text(damage)
        assert hashes.sha256(file) == hashlib.sha256(CONTENT).hexdigest()


def test_an_artifact_that_does_not_fit_on_the_disk_leaves_the_store_as_it_was(full_disk: Path, tmp_path: Path) -> None:
    small, file = Artifacts(Home(full_disk / "home")), tmp_path / "big.gguf"
    file.write_bytes(b"x" * 200_000)
    with pytest.raises(FarmError, match="no room to write in"):
        small.adopt(file, recipe())
    assert small.find(recipe()) is None
    assert file.exists()
    assert not [f for f in full_disk.rglob("*") if f.is_file()]
