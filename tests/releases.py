"""Releases of llama-cpp-python in a local folder: tiny source packages, some of them slower, some that do not build.

Each is a thin package around the llama-cpp-python that is really installed here: it runs the same llama.cpp, says its
own version, and from a chosen version on really works longer in every call that decodes. What needs minutes for a
release of the real one takes a second, and the slow-down is known. No network is needed.
"""

from __future__ import annotations

import importlib.util
import io
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flows import make, prepare
from quantfarm.nouns import Cell, DeviceProfile
from quantfarm.sweeps import Sweep
from quantfarm.toolchain import environments
from storage.home import Home

PACKAGE = "llama-cpp-python"
VERSIONS = tuple(f"0.3.{n}" for n in range(30, 38))

#: A workload whose decoding takes some hundredths of a second.
BENCH = {"kind": "bench", "n_prompt": 0, "n_gen": 160, "repetitions": 5}

PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""

BACKEND = '''\
"""Puts the package into a wheel, or fails as a compiler would."""

import base64, hashlib, pathlib, time, zipfile

NAME, VERSION, BROKEN, SECONDS = "llama_cpp_python", "@VERSION@", @BROKEN@, @SECONDS@


def build_wheel(into, settings=None, metadata=None):
    time.sleep(SECONDS)
    if BROKEN:
        raise SystemExit("CMake Error: this release does not compile here")
    info = f"{NAME}-{VERSION}.dist-info"
    files = {f"llama_cpp/{path.name}": path.read_bytes() for path in pathlib.Path("llama_cpp").glob("*.py")}
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\\nName: llama-cpp-python\\nVersion: {VERSION}\\n".encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    listed = "".join(f"{name},{_hash(data)},{len(data)}\\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{listed}{info}/RECORD,,\\n".encode()
    wheel = f"{NAME}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(into) / wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return wheel


def _hash(data):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
'''

#: Stands where the real package's low-level bindings stand, which are all that the runner imports.
BINDINGS = '''\
"""The bindings of the llama-cpp-python at REAL, and @SLOWER@ of the time of every decoding call once more."""

import importlib.util, sys, time

REAL, SLOWER = "@REAL@", @SLOWER@
sys.path.append(REAL)
sys.modules["llama_cpp"].__path__ = [f"{REAL}/llama_cpp"]
spec = importlib.util.spec_from_file_location(__name__, f"{REAL}/llama_cpp/llama_cpp.py")
real = importlib.util.module_from_spec(spec)
spec.loader.exec_module(real)
globals().update({name: value for name, value in vars(real).items() if not name.startswith("__")})


def llama_decode(context, batch):
    began = time.perf_counter()
    status = real.llama_decode(context, batch)
    now = time.perf_counter()
    until = now + SLOWER * (now - began)
    while time.perf_counter() < until:
        pass
    return status
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """`slower`: by which part of itself a decoding call takes longer; `broken`: it cannot be built; `seconds`: that
    building takes."""

    version: str
    slower: float = 0.0
    broken: bool = False
    seconds: float = 0.0


def write(folder: Path, release: Release) -> Path:
    """Its source package."""
    found = importlib.util.find_spec("llama_cpp")
    assert found and found.origin
    values = {
        "@VERSION@": release.version,
        "@SLOWER@": str(release.slower),
        "@BROKEN@": str(release.broken),
        "@SECONDS@": str(release.seconds),
        "@REAL@": str(Path(found.origin).parent.parent),
    }
    stem = f"llama_cpp_python-{release.version}"
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {release.version}\n",
        "pyproject.toml": PROJECT,
        "backend.py": _filled(BACKEND, values),
        "llama_cpp/__init__.py": "",
        "llama_cpp/llama_cpp.py": _filled(BINDINGS, values),
    }
    path = folder / f"{stem}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"{stem}/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def index(
    folder: Path, versions: Sequence[str] = VERSIONS, *, slow: Mapping[str, float] | None = None, broken: str = ""
) -> Path:
    """A folder with these releases. `slow`: from which version on by how much; `broken`: those that do not build."""
    folder.mkdir(parents=True, exist_ok=True)
    slower = 0.0
    for version in versions:
        slower = (slow or {}).get(version, slower)
        write(folder, Release(version=version, slower=slower, broken=version in broken.split()))
    return folder


@contextmanager
def used(folder: Path, at: Path) -> Iterator[pytest.MonkeyPatch]:
    """Within this block pip and uv know these releases alone; environments are made below `at`."""
    uv = environments.program("uv", "uv>=0.9")  # as the user's own settings give it, before they change
    tools = environments.tools()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
            patch.delenv(name)
        patch.setenv("PATH", f"{uv.parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(folder))
        patch.setenv("UV_CACHE_DIR", str(at / "uv"))
        patch.setenv("QUANTFARM_CACHE", str(at / "cache"))
        (at / "cache" / "environments").mkdir(parents=True)
        (at / "cache" / "environments" / tools.name).symlink_to(tools)
        yield patch


def installed(version: str) -> Path:
    """A Python that has this release, as a user would have made it; within `used`."""
    return environments.python_of(environments.environment("own", [f"{PACKAGE}=={version}"]))


def cell(home: Home, profile: DeviceProfile, version: str) -> Cell:
    """A short benchmark of the reference model, whose artifact is in the store."""
    ready = prepare.prepare(home, Sweep(quants=("F16",), workloads=(BENCH,), launches=1, common={"threads": 1}))
    make.variant(home, ready.host, ready.plan.cells[0].variant, ready.source_files)
    return replace(ready.plan.cells[0], profile=profile, build=f"{PACKAGE} {version}")
