"""Files are whole or not there, wherever the power goes out or the disk fills up."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantfarm.errors import FarmError, UsageError
from storage import atomic, processes
from storage.home import Home, default_root


def test_the_home_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QUANTFARM_HOME", str(tmp_path / "there"))
    assert Home.default().root == tmp_path / "there"


@pytest.mark.skipif(sys.platform == "darwin", reason="the XDG folders are not used on a Mac")
def test_without_it_the_home_is_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("QUANTFARM_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_root() == tmp_path / "quantfarm"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert default_root() == Path.home() / ".local" / "share" / "quantfarm"


def test_folders_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert not home.root.exists()
    assert home.cells.is_dir()
    assert home.partial_traces.is_dir()


def test_a_home_that_cannot_be_made_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FarmError, match=r"cannot make the folder .*file/home/cells"):
        _ = Home(tmp_path / "file" / "home").cells


def test_a_write_replaces_what_was_there_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic.write_atomic(path, b"one")
    atomic.write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_the_first_one_lands_and_the_second_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic.write_once(path, b"first")
    with pytest.raises(FileExistsError):
        atomic.write_once(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_left_overs_of_dead_processes_are_swept_up_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        dead = tmp_path / f".a.json.{processes.mark(child.pid)}.00.tmp"
        child.communicate(b"\n")
    dead.write_bytes(b"half")
    mine = atomic.temporary(tmp_path / "b.json")
    mine.write_bytes(b"half")
    atomic.sweep_up(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]


def test_a_process_id_used_again_is_not_taken_for_the_process_that_had_it() -> None:
    pid, _, start = processes.mark().partition("-")
    assert processes.alive(f"{pid}-{start}")
    assert not processes.alive(f"{pid}-{int(start) - 1}")


LIMITED = """
import sys
from pathlib import Path
from quantfarm.errors import FarmError, UsageError
from storage import atomic
try:
    atomic.write_atomic(Path(sys.argv[1]) / "big.json", b"x" * 200_000)
except FarmError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_file_over_its_limit_leaves_nothing_and_says_where_and_how_much_is_free(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert done.returncode == 2, done.stderr
    assert f"no room to write in {tmp_path}: File too large" in done.stdout
    assert "iB free)" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs a machine where a file system can be mounted")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(full_disk: Path) -> None:
    path = full_disk / "a.json"
    atomic.write_atomic(path, b"old")
    with pytest.raises(FarmError, match=r"no room to write in .*small: No space left on device \(0\.0 MiB free\)"):
        atomic.write_atomic(path, b"x" * 200_000)
    assert path.read_bytes() == b"old"
    assert list(full_disk.iterdir()) == [path]


# --- several files


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_several_files_are_written_with_their_folders(tmp_path: Path) -> None:
    atomic.write_all({tmp_path / "a.md": b"1", tmp_path / "deep" / "er" / "b.svg": b"2"})
    assert contents(tmp_path) == {"a.md": b"1", "deep/er/b.svg": b"2"}


def test_where_one_of_several_cannot_be_written_none_is(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"old")
    (tmp_path / "z.md").mkdir()
    with pytest.raises(UsageError, match=r"cannot write .*z.md: there is a folder of that name. Choose another"):
        atomic.write_all({tmp_path / "a.md": b"new", tmp_path / "new" / "b": b"", tmp_path / "z.md": b""})
    assert contents(tmp_path) == {"a.md": b"old"} and not (tmp_path / "new").exists()
    with pytest.raises(UsageError, match=r"cannot write .*a.md.below"):
        atomic.write_all({tmp_path / "b.md": b"new", tmp_path / "a.md" / "below": b""})
    assert contents(tmp_path) == {"a.md": b"old"}


def test_a_writing_that_is_ended_in_the_middle_leaves_what_was_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_bytes(b"old")

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic, "replace", ended)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_all({tmp_path / "a.md": b"new", tmp_path / "plots" / "b.svg": b""})
    assert contents(tmp_path) == {"a.md": b"old"} and not (tmp_path / "plots").exists()
