"""Static programs for devices without Python: built by zig, once, whole or not at all, for the processor said."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quantfarm import toolchain
from quantfarm.errors import FarmError, UsageError
from quantfarm.toolchain import cross, machines, zig
from quantfarm.toolchain.news import Step
from tests import native
from tests.conftest import ROOT

slow = pytest.mark.timeout(2400)  # a first build


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUANTFARM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def command(*platforms: str) -> list[str]:
    asked = [part for platform in platforms for part in ("--for", platform)]
    return [sys.executable, "-c", "from cli.main import main; main()", "toolchain", "build", *asked]


# --- what is asked ---


def test_a_platform_that_nothing_is_built_for_is_refused_before_anything_is_built(own_cache: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown platform to build for 'android-arm46': did you mean android-arm64"):
        toolchain.build_for(["android-x86_64", "android-arm46"])
    assert not own_cache.exists()


def test_the_command_line_refuses_it_with_exit_status_2(own_cache: Path) -> None:
    said = subprocess.run(command("windows"), cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "android-arm64" in said.stderr


def test_a_program_that_is_not_built_says_what_to_run(own_cache: Path) -> None:
    with pytest.raises(UsageError, match="quantfarm toolchain build --for linux-arm64"):
        toolchain.program("llama-bench", "linux-arm64")


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_a_phone_and_a_linux_machine_of_one_architecture_share_a_build(architecture: str) -> None:
    assert machines.machine(f"android-{architecture}") == machines.machine(f"linux-{architecture}")


def test_this_machine_is_named_as_device_profiles_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for system, architecture, name in (
        ("Linux", "x86_64", "linux-x86_64"),
        ("Linux", "aarch64", "linux-arm64"),
        ("Darwin", "arm64", "macos-arm64"),
    ):
        monkeypatch.setattr(machines.platform, "system", lambda system=system: system)
        monkeypatch.setattr(machines.platform, "machine", lambda architecture=architecture: architecture)
        assert machines.here() == name


def test_another_source_of_our_own_is_another_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in cross.sources():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(cross, "PROJECT", tmp_path)
    before = cross.sources_digest.__wrapped__()
    assert before == cross.sources_digest()
    (tmp_path / "bench.cpp").write_text("// changed\n")
    assert cross.sources_digest.__wrapped__() != before


def test_every_source_is_compiled() -> None:
    named = (cross.PROJECT / "CMakeLists.txt").read_text()
    for path in cross.PROJECT.glob("*.cpp"):
        assert re.search(rf"^\s+{path.name}\)?$", named, re.MULTILINE), path.name


def test_the_wrappers_name_machine_and_compiler_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setattr(zig, "compiler", lambda _: Path("/a folder/zig"))
    zig.toolchain_file(tmp_path, machines.ARM64)
    said = (tmp_path / "zig-c++").read_text()
    assert "exec '/a folder/zig' c++ -target aarch64-linux-musl" in said
    assert (tmp_path / "zig-c++").stat().st_mode & 0o111


# --- what is built ---


def elf(machine: int, kinds: list[int]) -> bytes:
    """The head of a 64-bit ELF program with program headers of these kinds."""
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    head[18:20] = machine.to_bytes(2, "little")
    head[32:40] = (64).to_bytes(8, "little")
    head[54:56], head[56:58] = (56).to_bytes(2, "little"), len(kinds).to_bytes(2, "little")
    return bytes(head) + b"".join(kind.to_bytes(4, "little") + bytes(52) for kind in kinds)


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (elf(62, [1]), "was not built for arm64"),
        (elf(183, [1, 3]), "is not static"),
        (b"#!/bin/sh\n", "was not built for arm64"),
        (elf(183, [1, 2]), ""),
    ],
)
def test_only_a_static_program_of_the_machine_is_published(tmp_path: Path, data: bytes, wrong: str) -> None:
    path = tmp_path / "llama-bench"
    path.write_bytes(data)
    if not wrong:
        return cross.check_static(path, machines.ARM64)
    with pytest.raises(FarmError, match=wrong):
        cross.check_static(path, machines.ARM64)
    return None


@slow
@pytest.mark.parametrize("platform", ["android-arm64", "android-x86_64"])
def test_the_programs_are_there_stripped_and_static(platform: str) -> None:
    for name, path in native.built(platform).items():
        cross.check_static(path, machines.machine(platform))
        assert b".debug_info" not in path.read_bytes()
        assert path.stat().st_size < 16 * 2**20, name


@slow
def test_arm64_programs_load_where_pages_are_16_kib() -> None:
    """Raspberry Pi 5 and newer phones: segments must begin at multiples of their page."""
    for path in native.built("android-arm64").values():
        said = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True, check=True).stdout
        aligned = [int(line.split()[-1], 16) for line in said.splitlines() if line.strip().startswith("LOAD")]
        assert aligned
        assert all(alignment % 16384 == 0 for alignment in aligned)


@slow
def test_what_is_built_says_for_which_processor() -> None:
    program = native.built(native.PHONE)["quantfarm-native"]
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    made = machines.machine(native.PHONE)
    assert f"quantfarm-native {cross.project_version()} " in said.stdout
    assert made.cpu in said.stdout
    assert cross.source.version() in said.stdout


@slow
def test_building_again_does_nothing() -> None:
    built = native.built(native.PHONE)
    told: list[Step] = []
    assert toolchain.build_for([native.PHONE], told.append) == {native.PHONE: built}
    assert told == []


@slow
def test_the_command_line_builds_for_several_platforms_and_prints_the_paths() -> None:
    built = {platform: native.built(platform) for platform in ("android-arm64", "linux-arm64")}
    said = subprocess.run([*command(*built), "--json"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = {f"{platform} {name}": str(path) for platform in built for name, path in built[platform].items()}
    assert json.loads(said.splitlines()[-1])["paths"] == paths
