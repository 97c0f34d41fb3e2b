"""Static programs for devices without Python: llama-bench and our own quantfarm-native, compiled by zig.

Both come from the llama.cpp sources of the installed llama-cpp-python, so a phone runs the same
version as this machine. A killed build goes on where it was; a change of our own program compiles
that alone, since llama.cpp's objects are kept.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
from collections.abc import Iterable
from functools import cache as once
from pathlib import Path

from quantfarm.errors import FarmError, UsageError
from quantfarm.toolchain import cache, environments, source, zig
from quantfarm.toolchain.building import progress
from quantfarm.toolchain.machines import Machine, here, machine
from quantfarm.toolchain.news import Counter, Step, Tell, nobody
from quantfarm.toolchain.process import run

PROGRAMS = ("llama-bench", "quantfarm-native")
PROJECT = Path(__file__).resolve().parent.parent.parent / "runners" / "native"
BUILD_MIB = 500
#: An ELF program header that names a loader, so that the program is not static.
PT_INTERP = 3


def build_for(
    targets: Iterable[str], tell: Tell = nobody, *, sha256: str = "", jobs: int = 0, niceness: int = 0
) -> dict[str, dict[str, Path]]:
    """Builds what is missing for the platforms; platform -> the path of each program.

    Raises UsageError for an unknown platform; FarmError for no network, a hash that differs, no room.
    """
    machines = {target: machine(target) for target in targets}  # all are known before any is built
    for made in dict.fromkeys(machines.values()):
        _build(made, tell, sha256, jobs or os.cpu_count() or 1, niceness)
    return {target: {name: program(name, target) for name in PROGRAMS} for target in machines}


def program(name: str, target: str) -> Path:
    """A built program for a platform. Raises UsageError saying how to build it when it is not there."""
    path = _published(machine(target)) / name
    if not path.exists():
        raise UsageError(
            f"{name} of {source.PACKAGE} {source.version()} is not built for {target}: "
            f"run `quantfarm toolchain build --for {target}`"
        )
    return path


def is_built(target: str) -> bool:
    return _published(machine(target)).is_dir()


def builds_for(target: str) -> dict[str, str]:
    """runtime -> the build that a device of this platform gets; empty where nothing is built (or can be)."""
    try:
        made = machine(target)
        if not is_built(target):
            return {}
    except FarmError:  # no such target, or no llama-cpp-python whose sources it would be built from
        return {}
    of = f"{source.PACKAGE} {source.version()} (static, {made.cpu})"
    return {"llama_native": f"quantfarm-native {project_version()} of {of}", "llama_bench": f"llama-bench of {of}"}


def build_here() -> str:
    """The build of llama_native that this machine itself can run; empty when there is none."""
    return builds_for(here()).get("llama_native", "")


def sources() -> list[Path]:
    """The files of our own program."""
    return sorted(path for path in PROJECT.iterdir() if path.suffix in (".cpp", ".hpp", ".txt"))


@once
def project_version() -> str:
    """Grows when what is measured changes: part of a cell's id, as a runtime's version is."""
    found = re.search(r"project\(quantfarm-native VERSION (\S+)", (PROJECT / "CMakeLists.txt").read_text())
    if found is None:
        raise FarmError(f"{PROJECT / 'CMakeLists.txt'} names no version")
    return found[1]


@once
def sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _objects_key(made: Machine) -> str:
    """What llama.cpp's objects depend on besides their sources."""
    return hashlib.sha256(f"{zig.VERSION} {zig.options(made)} {made.cpu}".encode()).hexdigest()[:8]


def _published(made: Machine) -> Path:
    return source.home() / f"static-{made.name}-{_objects_key(made)}-{sources_digest()}"


def _build(made: Machine, tell: Tell, sha256: str, jobs: int, niceness: int) -> None:
    path = source.home() / f"static-{made.name}.lock"
    with cache.locked(path, lambda note: tell(Step(what="wait", note=note))) as lock:
        if not _published(made).is_dir():
            tree = source.fetch_source(tell, sha256)
            _publish(_compile(tree, made, tell, jobs, niceness, lock), made)


def _compile(tree: Path, made: Machine, tell: Tell, jobs: int, niceness: int, lock: int) -> Path:
    """The folder it was built in."""
    folder = cache.folder("toolchain", source.version(), f"build-static-{made.name}-{_objects_key(made)}")
    cache.need_room(folder, BUILD_MIB, f"building for {made.name}")
    cmake = environments.program("cmake", "cmake>=3.25", tell)
    ninja = environments.program("ninja", "ninja>=1.11", tell)
    toolchain = zig.toolchain_file(folder, made, tell)
    tell(Step(what=f"configuring for {made.name}"))
    settings = {
        "CMAKE_MAKE_PROGRAM": ninja,
        "CMAKE_TOOLCHAIN_FILE": toolchain,
        "LLAMA_SOURCE": tree,
        "LLAMA_COMMIT": f"{source.PACKAGE}-{source.version()}",
        "QUANTFARM_CPU": made.cpu,
        "QUANTFARM_SOURCES": sources_digest(),
    }
    defined = [f"-D{name}={value}" for name, value in settings.items()]
    run(
        [str(cmake), "-G", "Ninja", "-S", str(PROJECT), "-B", str(folder), *defined],
        what=f"configuring the build for {made.name}",
        log=folder / "configure.log",
        environment=zig.variables(),
        keep_fds=[lock],
    )
    run(
        [str(ninja), "-C", str(folder), "-j", str(jobs), *PROGRAMS],
        what=f"building for {made.name}",
        log=folder / "build.log",
        on_line=progress(Counter(f"compiling for {made.name}", tell)),
        environment=zig.variables(),
        keep_fds=[lock],
        niceness=niceness,
    )
    return folder


def _publish(built: Path, made: Machine) -> None:
    """Both programs under their name at once, checked to be what a device can run."""
    with cache.whole_folder(_published(made)) as into:
        for name in PROGRAMS:
            shutil.copy2(built / "bin" / name, into / name)
            check_static(into / name, made)


def check_static(path: Path, made: Machine) -> None:
    """Raises FarmError unless this is a 64-bit little-endian ELF program for the machine that needs no loader."""
    with path.open("rb") as file:
        head = file.read(64)
        if head[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", head, 18)[0] != made.elf:
            raise FarmError(f"{path.name} was not built for {made.name}: {path}")
        (offset,), (size, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
        file.seek(offset)
        table = file.read(size * count)
    if any(struct.unpack_from("<I", table, i * size)[0] == PT_INTERP for i in range(count)):
        raise FarmError(f"{path.name} for {made.name} is not static: {path}")
