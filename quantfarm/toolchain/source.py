"""The source package of the installed llama-cpp-python: fetched, checked against the lock, unpacked.

It comes through pip from the user's own package index; nothing of it is run or built on the way
but pip's look at its metadata. Of the package only the llama.cpp tree is kept.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from quantfarm.errors import FarmError
from quantfarm.toolchain import cache, environments
from quantfarm.toolchain.news import Counter, Step, Tell, nobody
from quantfarm.toolchain.process import run

PACKAGE = "llama-cpp-python"
LOCK = Path(__file__).resolve().parent.parent.parent / "requirements" / "lock.txt"
#: The part of the package that is kept, and what nothing here needs of it (most of its bytes).
TREE = ("vendor", "llama.cpp")
LEFT_OUT = ("docs", "benches", "tests", "examples", "media", "app", "pocs", "skills", "ci", "tools/server", "tools/ui")
#: Test vocabularies; the converter reads two of them, for models that bring none.
VOCABULARIES = re.compile(r"^models/(?!templates/|ggml-vocab-(gpt-neox|llama-spm)\.gguf$)")
UNPACKED_MIB = 400
#: No source file is near this: a larger one is not what it says it is.
MEMBER_LIMIT = 64 * 2**20


def version() -> str:
    """Of the installed llama-cpp-python. Raises FarmError when it is not installed."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise FarmError(f"{PACKAGE} is not installed in this environment: pip install {PACKAGE}") from error


def locked_hashes(lock: Path, package: str, wanted: str) -> frozenset[str]:
    """The sha256s that a requirements file allows for a version. Raises FarmError when there are none."""
    text = lock.read_text() if lock.exists() else ""
    entry = re.search(rf"^{re.escape(package)}==(\S+)((?:\s*\\?\n\s+--hash=sha256:\w+)+)", text, re.MULTILINE)
    if entry is None or entry[1] != wanted:
        known = f"it has {entry[1]}" if entry else "it does not name the package"
        raise FarmError(
            f"{package} {wanted} is installed, and {lock} cannot vouch for its source package ({known}): "
            f"install the locked version, or give the sha256 of the source package with --sha256"
        )
    return frozenset(re.findall(r"sha256:(\w+)", entry[2]))


def home() -> Path:
    """The folder of this version in the cache."""
    return cache.folder("toolchain", version())


def source_tree() -> Path:
    """The unpacked llama.cpp sources. Raises FarmError saying what to run when they are not there."""
    path = home() / "source"
    if not path.is_dir():
        raise FarmError(
            f"the sources of {PACKAGE} {version()} are not unpacked yet: run `quantfarm toolchain build --only-source`"
        )
    return path


def converter() -> Path:
    """llama.cpp's convert_hf_to_gguf.py. Raises FarmError as source_tree does."""
    return source_tree() / "convert_hf_to_gguf.py"


def fetch_source(tell: Tell = nobody, sha256: str = "") -> Path:
    """The unpacked sources, fetched when they are not there. `sha256`: instead of the lock's.

    Raises FarmError for no network, a hash that differs, no room.
    """
    path = home() / "source"
    with cache.locked(home() / "source.lock", lambda note: tell(Step(what="wait", note=note))):
        if not path.is_dir():
            allowed = frozenset({sha256}) if sha256 else locked_hashes(LOCK, PACKAGE, version())
            cache.need_room(home(), UNPACKED_MIB, "unpacking the sources")
            _unpack(_package(allowed, tell), path, tell)
    return path


def _package(allowed: frozenset[str], tell: Tell) -> Path:
    """The source package, downloaded when it is not there yet; checked in any case."""
    found = home() / f"{PACKAGE}-{version()}.tar.gz"
    if not found.exists():
        with cache.whole_folder(home() / "download") as into:
            tell(Step(what=f"fetching {PACKAGE} {version()}"))
            _download(into)
        (package,) = (home() / "download").glob("*.tar.gz")
        package.replace(found)
        shutil.rmtree(home() / "download")
    check_hash(found, allowed)
    return found


def _download(into: Path) -> None:
    pip = [
        str(environments.python_of(environments.tools())),
        "-m",
        "pip",
        "download",
        "--verbose",
        "--progress-bar",
        "off",
    ]
    options = ["--no-deps", "--no-binary", PACKAGE, "--dest", str(into), f"{PACKAGE}=={version()}"]
    run([*pip, *options], what=f"fetching the source package of {PACKAGE} {version()}")


def check_hash(package: Path, allowed: frozenset[str]) -> None:
    """Removes a package that is not the one that was locked, and raises FarmError."""
    with package.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found not in allowed:
        package.unlink()
        raise FarmError(
            f"the source package {package.name} has sha256 {found}, and {' or '.join(sorted(allowed))} was expected: "
            f"it was removed, nothing of it was used. Check the package index in use"
        )


def wanted_members(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, PurePosixPath]]:
    """The regular files of the kept tree with their paths in it. Raises FarmError for a path that leads out of it."""
    for member in archive:
        path = PurePosixPath(member.name)
        if path.parts[1:3] != TREE or len(path.parts) < 4 or not member.isreg():
            continue
        inner = PurePosixPath(*path.parts[3:])
        if ".." in inner.parts or path.is_absolute() or member.size > MEMBER_LIMIT:
            raise FarmError(f"the source package holds '{member.name}', which no source package should: not unpacked")
        if not any(inner.is_relative_to(folder) for folder in LEFT_OUT) and not VOCABULARIES.match(str(inner)):
            yield member, inner


def _unpack(package: Path, path: Path, tell: Tell) -> None:
    """All files of the kept tree, or none."""
    counter = Counter("unpacking", tell)
    with cache.whole_folder(path) as into, package.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:gz") as archive:
        size = package.stat().st_size
        for number, (member, inner) in enumerate(wanted_members(archive)):
            target = into / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member)
            assert content
            with target.open("wb") as file:
                shutil.copyfileobj(content, file)
            os.utime(target, (member.mtime, member.mtime))  # so that a build that was begun is not begun anew
            if number % 200 == 0:
                counter.at(raw.tell() * 100 // size, 100)
        counter.at(100, 100)
