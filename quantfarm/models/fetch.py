"""Fetching the files of a hub repository: what was interrupted goes on, each file is checked before it gets its name.

Done here because huggingface_hub keeps no part of an interrupted download, and compares sizes only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import get_session, hf_hub_url, try_to_load_from_cache
from huggingface_hub.utils import (
    build_hf_headers,  # pyright: ignore[reportUnknownVariableType]
    hf_raise_for_status,
)

from quantfarm.errors import FarmError
from quantfarm.toolchain import cache
from quantfarm.toolchain.news import Counter, Step, Tell

ATTEMPTS = 5
PAUSE_S = 1.0
TIMEOUT_S = 30
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """`sha256` of what the hub stores as a large file; `blob`, git's sha1 of the others."""

    name: str
    size: int
    sha256: str = ""
    blob: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A model at one commit: the files that are taken of it, and where they lie."""

    name: str
    commit: str
    files: tuple[RemoteFile, ...]
    n_params: int = 0

    @property
    def path(self) -> Path:
        return cache.folder("hub", self.name.replace("/", "--"), self.commit)

    def missing(self) -> list[RemoteFile]:
        """Files not here yet. One that is here was checked before it got its name."""
        return [file for file in self.files if not (self.path / file.name).exists()]


def endpoint() -> str | None:
    """Another hub than the default, where the user set one."""
    return os.environ.get("HF_ENDPOINT")


def fetch(found: Repository, files: Sequence[RemoteFile], tell: Tell) -> None:
    """The files, under their names. Raises FarmError when one cannot be had, is damaged, or there is no room."""
    with cache.locked(found.path.with_suffix(".lock"), lambda note: tell(Step(what="wait", note=note))):
        left = [file for file in files if not (found.path / file.name).exists()]
        total, done = sum(file.size for file in left), 0
        cache.need_room(found.path, total // 2**20 + 1, f"downloading {found.name}")
        counter = Counter(f"downloading {found.name}", tell)
        for file in left:
            _one(found, file, _from(counter, done, total))
            done += file.size


def _from(counter: Counter, before: int, total: int) -> Callable[[int], None]:
    return lambda got: counter.at(before + got, total)


def _one(found: Repository, file: RemoteFile, at: Callable[[int], None]) -> None:
    part = found.path / f"{file.name}.part"
    with cache.writing(found.path):
        if not _from_users_cache(found, file, part):
            _download(found, file, part, at)
        check(part, file, found.name)
        cache.fsync(part)
        part.replace(found.path / file.name)
        cache.fsync(found.path)


def _from_users_cache(found: Repository, file: RemoteFile, part: Path) -> bool:
    """Takes a file that another program downloaded before (by link where the disk allows it)."""
    known = try_to_load_from_cache(found.name, file.name, revision=found.commit)
    if not isinstance(known, str) or part.exists() or Path(known).stat().st_size != file.size:
        return False
    try:
        os.link(Path(known).resolve(), part)
    except OSError:
        shutil.copyfile(known, part)
    return True


def _download(found: Repository, file: RemoteFile, part: Path, at: Callable[[int], None]) -> None:
    """Until all of it is here; a connection that is lost is made again a few times."""
    reason = "the connection ended early"
    for attempt in range(ATTEMPTS):
        try:
            _append(found, file, part, at)
        except OSError as error:  # also what the hub answers (HfHubHTTPError)
            if error.errno in cache.NO_ROOM:
                raise
            reason = str(error).splitlines()[0]
        except Exception as error:  # the HTTP library under huggingface_hub has changed before; so have its errors
            reason = f"{type(error).__name__}: {error}"
        if part.exists() and part.stat().st_size >= file.size:
            return
        if attempt < ATTEMPTS - 1:
            time.sleep(PAUSE_S)
    have = part.stat().st_size if part.exists() else 0
    raise FarmError(
        f"{file.name} of {found.name} could not be fetched ({reason}): {have} of {file.size} bytes are here and kept, "
        f"the same command goes on from there"
    )


def _append(found: Repository, file: RemoteFile, part: Path, at: Callable[[int], None]) -> None:
    """Asks for what is not here yet and adds it as it comes."""
    have = part.stat().st_size if part.exists() else 0
    if have >= file.size > 0:
        return
    url = hf_hub_url(found.name, file.name, revision=found.commit, endpoint=endpoint())
    headers = build_hf_headers() | {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with get_session().stream("GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT_S) as answer:
        hf_raise_for_status(answer)
        with part.open("ab" if answer.status_code == 206 else "wb") as into:
            for chunk in answer.iter_bytes(CHUNK):
                into.write(chunk)
                at(into.tell())


def check(part: Path, file: RemoteFile, name: str) -> None:
    """Raises FarmError for a file that is not what the hub says it is; it is removed."""
    size = part.stat().st_size
    with part.open("rb") as content:
        if file.sha256:
            kind, wanted, got = "sha256", file.sha256, hashlib.file_digest(content, "sha256").hexdigest()
        else:
            blob = hashlib.sha1(b"blob %d\0" % size + content.read(), usedforsecurity=False).hexdigest()
            kind, wanted, got = "git blob", file.blob or blob, blob
    if got == wanted and size == file.size:
        return
    with contextlib.suppress(OSError):
        part.unlink()
    raise FarmError(
        f"{file.name} of {name} arrived damaged: {kind} {got}, and the hub names {wanted} ({size} of {file.size} "
        f"bytes). It was removed; run it again"
    )
