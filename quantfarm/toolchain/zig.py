"""Zig as a cross compiler: C and C++ for another machine, linked with musl, and nothing else to install.

It comes from the user's package index into an environment of its own.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from quantfarm.errors import FarmError
from quantfarm.toolchain import cache, environments
from quantfarm.toolchain.machines import Machine
from quantfarm.toolchain.news import Tell, nobody

#: Another compiler makes another program: its version is part of what a build is known by.
VERSION = "0.17.0"

CMAKE = """\
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR {processor})
set(CMAKE_C_COMPILER ${{CMAKE_CURRENT_LIST_DIR}}/zig-cc)
set(CMAKE_CXX_COMPILER ${{CMAKE_CURRENT_LIST_DIR}}/zig-c++)
set(CMAKE_AR ${{CMAKE_CURRENT_LIST_DIR}}/zig-ar)
set(CMAKE_RANLIB ${{CMAKE_CURRENT_LIST_DIR}}/zig-ranlib)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
"""


def options(machine: Machine) -> str:
    """What every call of the compiler gets; what is compiled depends on it.

    `baseline` is for zig's own C library and start code: the project's files say -mcpu themselves.
    Debug information would be most of the bytes written.
    """
    return f"-target {machine.triple} -mcpu=baseline -g0"


def compiler(tell: Tell = nobody) -> Path:
    """Zig's program, installed when absent (about 400 MB). Raises FarmError."""
    environment = environments.environment("zig", [f"ziglang=={VERSION}"], tell)
    found = sorted(environment.glob("lib/python*/site-packages/ziglang/zig"))
    if not found:
        raise FarmError(
            f"the package ziglang {VERSION} brought no zig into {environment}: remove that folder, try again"
        )
    return found[0]


def variables() -> dict[str, str]:
    """Zig keeps what it compiles (its own C library too): in our cache, shared by the targets."""
    kept = str(cache.folder("toolchain", f"zig-{VERSION}"))
    return {"ZIG_GLOBAL_CACHE_DIR": kept, "ZIG_LOCAL_CACHE_DIR": kept}


def toolchain_file(folder: Path, machine: Machine, tell: Tell = nobody) -> Path:
    """CMake's toolchain file for a machine, with the compilers' wrappers beside it. Raises FarmError."""
    zig = shlex.quote(str(compiler(tell)))
    given = options(machine)
    for name, arguments in {"cc": f"cc {given}", "c++": f"c++ {given}", "ar": "ar", "ranlib": "ranlib"}.items():
        _program(folder / f"zig-{name}", f'#!/bin/sh\nexec {zig} {arguments} "$@"\n')
    path = folder / "zig.cmake"
    cache.write_atomic(path, CMAKE.format(processor=machine.triple.partition("-")[0]).encode())
    return path


def _program(path: Path, text: str) -> None:
    cache.write_atomic(path, text.encode())
    path.chmod(0o755)
