"""What was once read of a file, kept by (path, size, mtime, inode): hashing gigabytes again takes minutes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quantfarm.errors import FarmError
from quantfarm.toolchain import cache

#: A file changed less than this ago may change again without a change of its times.
SETTLED_NS = 2 * 10**9


def remembered(path: Path, what: str, read: Callable[[Path], Any]) -> Any:
    """`read(path)`, JSON-able, from the cache when the file is the same as then."""
    stat = path.stat()
    key = json.dumps([what, str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino])
    note = cache.folder("digests") / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    try:
        return json.loads(note.read_bytes())["value"]
    except (OSError, ValueError, KeyError):
        value = read(path)
    after = path.stat()
    same = (after.st_size, after.st_mtime_ns, after.st_ino) == (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if same and time.time_ns() - stat.st_mtime_ns > SETTLED_NS:
        _keep(note, {"key": key, "value": value})
    return value


def _keep(note: Path, content: object) -> None:
    try:
        cache.write_atomic(note, json.dumps(content).encode())
    except (OSError, FarmError):
        return  # a cache that cannot be written costs time, nothing else


def sha256(path: Path) -> str:
    """The sha256 of a file's content, remembered."""
    return str(remembered(path, "sha256", _sha256))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
