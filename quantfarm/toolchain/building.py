"""Building llama.cpp's tools against the libraries of the installed llama-cpp-python.

A build that was killed goes on where it was (Ninja runs a step again unless its log says that
it finished); the tools get their place in one rename after each has been run once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from quantfarm.errors import FarmError
from quantfarm.toolchain import cache, environments, source
from quantfarm.toolchain.news import Counter, Step, Tell, nobody
from quantfarm.toolchain.process import run

TOOLS = ("llama-bench", "llama-quantize", "llama-perplexity", "llama-imatrix")
PROJECT = Path(__file__).resolve().parent
#: A step of Ninja: `[12/57] Building CXX object …`
STEP = re.compile(r"^\[(\d+)/(\d+)\] ")
BUILD_MIB = 300


def libraries() -> Path:
    """The folder of the shared libraries that llama-cpp-python carries. Raises FarmError when it has none."""
    found = importlib.util.find_spec("llama_cpp")
    folder = Path(found.origin).parent / "lib" if found and found.origin else None
    if folder is None or not list(folder.glob("libllama.*")):
        raise FarmError(f"the installed {source.PACKAGE} carries no libllama (looked in {folder}): reinstall it")
    return folder


def build_key() -> str:
    """The libraries' digest: another build of the same version has tools of its own."""
    digest = hashlib.sha256((PROJECT / "CMakeLists.txt").read_bytes())
    for library in sorted(libraries().iterdir()):
        digest.update(f"{library.name} {library.stat().st_size} {library.stat().st_mtime_ns}".encode())
    return digest.hexdigest()[:12]


def _published() -> Path:
    return source.home() / f"tools-{build_key()}"


def tool(name: str) -> Path:
    """A built tool. Raises FarmError saying to run `quantfarm toolchain build` when it is not there."""
    if name not in TOOLS:
        raise FarmError(f"{name} is not one of the tools built here: {', '.join(TOOLS)}")
    path = _published() / "bin" / name
    if not path.exists():
        raise FarmError(f"{name} for {source.PACKAGE} {source.version()} is not built: run `quantfarm toolchain build`")
    return path


def build(tell: Tell = nobody, *, sha256: str = "", jobs: int = 0, niceness: int = 0) -> dict[str, Path]:
    """Builds what is missing; the path of each tool. `jobs`: compilers at once (0: one for each core).

    Raises FarmError for no compiler, no network, a hash that differs, no room.
    """
    with cache.locked(source.home() / "build.lock", lambda note: tell(Step(what="wait", note=note))) as lock:
        if not _published().is_dir():
            tree = source.fetch_source(tell, sha256)
            _publish(_compile(tree, tell, jobs or os.cpu_count() or 1, niceness, lock))
    return {name: tool(name) for name in TOOLS}


def _compile(tree: Path, tell: Tell, jobs: int, niceness: int, lock: int) -> Path:
    """The folder it was built in."""
    folder = cache.folder("toolchain", source.version(), f"build-{build_key()}")
    cache.need_room(folder, BUILD_MIB, "building the tools")
    cmake = environments.program("cmake", "cmake>=3.25", tell)
    ninja = environments.program("ninja", "ninja>=1.11", tell)
    tell(Step(what="configuring"))
    settings = {
        "CMAKE_MAKE_PROGRAM": ninja,
        "LLAMA_SOURCE": tree,
        "LLAMA_LIBRARIES": libraries(),
        "LLAMA_COMMIT": f"{source.PACKAGE}-{source.version()}",
    }
    defined = [f"-D{name}={value}" for name, value in settings.items()]
    run(
        [str(cmake), "-G", "Ninja", "-S", str(PROJECT), "-B", str(folder), *defined],
        what="configuring the build",
        log=folder / "configure.log",
        keep_fds=[lock],
    )
    run(
        [str(ninja), "-C", str(folder), "-j", str(jobs), *TOOLS],
        what="building the tools",
        log=folder / "build.log",
        on_line=progress(Counter("compiling", tell)),
        keep_fds=[lock],
        niceness=niceness,
    )
    return folder


def progress(counter: Counter) -> Callable[[str], None]:
    """Reads Ninja's lines for how far it is."""

    def look(line: str) -> None:
        if step := STEP.match(line):
            counter.at(int(step[1]), int(step[2]))

    return look


def _speaks(status: int, said: str) -> bool:
    """Their exit status for --help differs: what counts is that they start and say how they are used."""
    del status
    return "usage" in said.lower()


def _publish(built: Path) -> None:
    """Tools and libraries side by side, each tool run once, then all of them at once under their name."""
    with cache.whole_folder(_published()) as into:
        shutil.copytree(libraries(), into / "lib")
        (into / "bin").mkdir()
        for name in TOOLS:
            shutil.copy2(built / "bin" / name, into / "bin" / name)
            run([str(into / "bin" / name), "--help"], what=f"trying {name}", good=_speaks)
    shutil.rmtree(built)
