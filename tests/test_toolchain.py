"""The toolchain: sources that were locked, unpacked safely, built once, whole or not at all."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from quantfarm import toolchain
from quantfarm.errors import FarmError
from quantfarm.toolchain import building, cache, conversion, environments, process, source
from quantfarm.toolchain.news import Counter, Step
from tests.conftest import ROOT

PREFIX = "llama_cpp_python-0.3.36/vendor/llama.cpp"
HASH = "a" * 64


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUANTFARM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def archive(*members: tuple[str, bytes | None]) -> tarfile.TarFile:
    """A tar of files (or, for None, of links to /etc/passwd), open for reading."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as made:
        for name, data in members:
            member = tarfile.TarInfo(name)
            if data is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                member.size = len(data)
            made.addfile(member, io.BytesIO(data or b""))
    raw.seek(0)
    return tarfile.open(fileobj=raw)


def lock(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "lock.txt"
    path.write_text(text)
    return path


# --- the lock ---


def test_the_lock_vouches_for_the_installed_version() -> None:
    hashes = source.locked_hashes(source.LOCK, source.PACKAGE, toolchain.version())
    assert hashes
    assert all(re.fullmatch(r"[0-9a-f]{64}", found) for found in hashes)


def test_only_the_hashes_of_the_package_itself_are_taken(tmp_path: Path) -> None:
    def entry(name: str, *hashes: str) -> str:
        return " \\\n".join([f"{name}", *(f"    --hash=sha256:{digest}" for digest in hashes)]) + "\n    # via x\n"

    b, c, d = ("b" * 64, "c" * 64, "d" * 64)
    path = lock(tmp_path, entry("aaa==1", b) + entry("llama==2", HASH, c) + entry("zzz==3", d))
    assert source.locked_hashes(path, "llama", "2") == {HASH, c}


def test_a_version_that_is_not_locked_is_not_trusted(tmp_path: Path) -> None:
    path = lock(tmp_path, f"llama==2 \\\n    --hash=sha256:{HASH}\n")
    with pytest.raises(FarmError, match=r"llama 3 is installed.*it has 2.*--sha256"):
        source.locked_hashes(path, "llama", "3")
    with pytest.raises(FarmError, match="does not name the package"):
        source.locked_hashes(tmp_path / "none", "llama", "2")


def test_a_package_with_another_hash_is_removed_and_not_used(tmp_path: Path) -> None:
    package = tmp_path / "package.tar.gz"
    package.write_bytes(b"something else")
    with pytest.raises(FarmError, match=f"{HASH} was expected"):
        source.check_hash(package, frozenset({HASH}))
    assert not package.exists()


def test_a_changed_package_in_the_cache_is_found_out_before_it_is_unpacked(own_cache: Path) -> None:
    (source.home() / f"{source.PACKAGE}-{source.version()}.tar.gz").write_bytes(b"not what was locked")
    with pytest.raises(FarmError, match="was removed, nothing of it was used"):
        toolchain.fetch_source()
    assert not (source.home() / "source").exists()


# --- unpacking ---


def test_only_the_llama_cpp_tree_is_taken() -> None:
    with archive((f"{PREFIX}/src/llama.cpp", b"1"), ("llama_cpp_python-0.3.36/setup.py", b"2")) as tar:
        assert [str(inner) for _, inner in source.wanted_members(tar)] == ["src/llama.cpp"]


def test_links_are_never_unpacked() -> None:
    with archive((f"{PREFIX}/src/link", None)) as tar:
        assert list(source.wanted_members(tar)) == []


def test_what_nothing_here_needs_is_left_out_but_templates_are_kept() -> None:
    names = (
        "models/ggml-vocab-phi-3.gguf",
        "docs/a.md",
        "tools/server/server.cpp",
        "models/templates/x.jinja",
        "ggml/a.c",
    )
    with archive(*((f"{PREFIX}/{name}", b"1") for name in names)) as tar:
        assert [str(inner) for _, inner in source.wanted_members(tar)] == ["models/templates/x.jinja", "ggml/a.c"]


def test_a_path_that_leads_out_is_refused() -> None:
    with archive((f"{PREFIX}/../../../etc/cron.d/x", b"1")) as tar, pytest.raises(FarmError, match="not unpacked"):
        list(source.wanted_members(tar))


# --- whole folders and locks ---


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), cache.whole_folder(tmp_path / "made") as into:
        (into / "half").touch()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with cache.whole_folder(tmp_path / "made") as into:
        (into / "whole").touch()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["whole"]


def test_what_a_killed_program_left_behind_is_removed(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib\nfrom quantfarm.toolchain import cache\n"
        "with cache.whole_folder(pathlib.Path(sys.argv[1])) as into:\n"
        "    (into / 'half').touch(); print('now', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, tmp_path / "made"], stdout=subprocess.PIPE) as killed:
        assert killed.stdout
        killed.stdout.readline()
        killed.kill()
    assert not (tmp_path / "made").exists()
    with cache.whole_folder(tmp_path / "made") as into:
        (into / "whole").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_second_builder_waits_and_says_for_whom(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\nfrom quantfarm.toolchain import cache\n"
        "with cache.locked(pathlib.Path(sys.argv[1]), print):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    pipe = subprocess.PIPE
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", program, path], stdin=pipe, stdout=pipe) as holder:
        assert holder.stdout and holder.stdin
        holder.stdout.readline()
        told: list[str] = []

        def release(note: str) -> None:
            told.append(note)
            assert holder.stdin
            holder.stdin.close()

        with cache.locked(path, release):
            assert told == [f"waiting for process {holder.pid}, which holds {path}"]


def test_what_a_killed_builder_left_running_still_holds_the_lock(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, subprocess\nfrom quantfarm.toolchain import cache\n"
        "with cache.locked(pathlib.Path(sys.argv[1]), print) as fd:\n"
        "    child = subprocess.Popen(['sleep', '60'], pass_fds=[fd]); print(child.pid, flush=True); child.wait()\n"
    )
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as builder:
        assert builder.stdout
        compiler = int(builder.stdout.readline())
        builder.kill()
    told: list[str] = []

    def end(note: str) -> None:
        told.append(note)
        os.kill(compiler, signal.SIGKILL)

    with cache.locked(path, end):
        assert len(told) == 1


def test_too_little_room_is_said_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(FarmError, match=r"building needs about \d+ MiB in .*set QUANTFARM_CACHE"):
        cache.need_room(tmp_path, 10**9, "building")


def test_a_cache_folder_that_cannot_be_made_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("QUANTFARM_CACHE", str(tmp_path / "file"))
    with pytest.raises(FarmError, match="set QUANTFARM_CACHE"):
        cache.folder("toolchain")


# --- messages and progress ---


@pytest.mark.parametrize(
    ("log", "advice"),
    [
        ("cc1plus: error\nfatal error: No space left on device\n", "the disk is full"),
        ("CMake Error: No CMAKE_CXX_COMPILER could be found.", "no C++ compiler"),
        ("WARNING: Retrying … Temporary failure in name resolution", "no network"),
        ("ERROR: Could not find a version that satisfies the requirement x", "package index in use does not have it"),
        ("one\nsomething: error: it broke\nlast line", "something: error: it broke"),
        ("", "it said nothing"),
    ],
)
def test_a_failed_step_says_what_to_do(log: str, advice: str) -> None:
    assert advice in process.explain(log)


def test_a_program_that_fails_keeps_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(FarmError, match=rf"building failed: it broke \(log: {log}\)"):
        process.run([sys.executable, "-c", "print('it broke'); exit(3)"], what="building", log=log)
    assert log.read_text() == "it broke\n"


def test_a_program_that_is_not_there_is_one_message() -> None:
    with pytest.raises(FarmError, match="cannot start /nowhere/cmake"):
        process.run(["/nowhere/cmake"], what="configuring")


def test_progress_gives_percent_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    told: list[Step] = []
    counter = Counter("compiling", told.append)
    for clock[0], done in ((100.0, 0), (110.0, 10), (120.0, 20)):
        counter.at(done, 40)
    assert [(step.percent, step.left_s) for step in told] == [(0, None), (25, 30.0), (50, 20.0)]


# --- the user's package index ---


def test_pip_settings_are_handed_on_to_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_INDEX", "UV_FIND_LINKS", "UV_DEFAULT_INDEX", "SSL_CERT_FILE", "UV_INDEX_STRATEGY"):
        monkeypatch.delenv(name, raising=False)
    given = environments.uv_variables(
        {"find-links": "/a /b", "extra-index-url": "x y", "index-url": "z", "timeout": "9"}
    )
    assert given == {
        "UV_FIND_LINKS": "/a,/b",
        "UV_INDEX": "x y",
        "UV_DEFAULT_INDEX": "z",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_what_the_user_told_uv_is_not_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_FIND_LINKS", "/mine")
    assert "UV_FIND_LINKS" not in environments.uv_variables({"find-links": "/a"})


def test_torch_is_the_cpu_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    assert environments.torch_backend({}) == ["--torch-backend", "cpu"]
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert environments.torch_backend({"find-links": str(tmp_path)}) == []
    monkeypatch.setattr(sys, "platform", "darwin")
    assert environments.torch_backend({}) == []


def test_every_requirement_of_the_converter_has_a_lower_bound() -> None:
    assert all(re.search(r"[=>]=", wanted) for wanted in conversion.requirements())
    assert "torch==2.13.0" in conversion.requirements()


# --- the tools ---


def test_a_tool_that_is_not_built_says_what_to_run(own_cache: Path) -> None:
    with pytest.raises(FarmError, match="run `quantfarm toolchain build`"):
        toolchain.tool("llama-bench")
    with pytest.raises(FarmError, match="run `quantfarm toolchain build --only-source`"):
        toolchain.converter()


def test_a_tool_that_is_not_built_here_names_those_that_are() -> None:
    with pytest.raises(FarmError, match="llama-server is not one of the tools"):
        toolchain.tool("llama-server")


@pytest.fixture
def built() -> dict[str, Path]:
    try:
        return {name: toolchain.tool(name) for name in toolchain.TOOLS}
    except FarmError as error:
        pytest.skip(str(error))


def test_building_again_does_nothing(built: dict[str, Path]) -> None:
    told: list[Step] = []
    assert toolchain.build(told.append) == built
    assert told == []


def test_the_tools_use_the_libraries_of_the_installed_package(built: dict[str, Path]) -> None:
    carried = {path.name: path.read_bytes() for path in building.libraries().iterdir()}
    beside = {path.name: path.read_bytes() for path in (built["llama-bench"].parent.parent / "lib").iterdir()}
    assert beside == carried


def test_the_built_tools_run(built: dict[str, Path], reference: Path) -> None:
    command = [built["llama-bench"], "-m", reference, "-t", "1", "-p", "8", "-n", "2", "-r", "1", "-o", "jsonl"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert [json.loads(line)["n_prompt"] for line in said.splitlines()] == [8, 0]


def test_the_command_line_prints_json_lines_that_end_with_the_paths(built: dict[str, Path]) -> None:
    command = [sys.executable, "-c", "from cli.toolchain import app; app()", "build", "--json"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert json.loads(said.splitlines()[-1])["paths"] == {name: str(path) for name, path in built.items()}


@pytest.mark.skipif("QUANTFARM_TEST_BUILD" not in os.environ, reason="minutes of compiling: set QUANTFARM_TEST_BUILD=1")
@pytest.mark.timeout(3600)
def test_a_build_that_is_killed_again_and_again_ends_whole(own_cache: Path) -> None:
    command = [sys.executable, "-c", "from cli.toolchain import app; app()", "build", "--json"]
    for seconds in (2, 4, 6, 9, 12):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT, start_new_session=True) as killed:
            time.sleep(seconds)
            killed.kill()
        with pytest.raises(FarmError, match="is not built"):
            toolchain.tool("llama-bench")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    assert {path.name for path in toolchain.tool("llama-bench").parent.iterdir()} == set(toolchain.TOOLS)
