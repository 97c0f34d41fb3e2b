"""sha256 of files, remembered by path, size, time stamp and inode, so that gigabytes are read once."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from storage import atomic
from storage.home import Home

#: A file changed this recently may change again within one tick of its time stamp: not remembered.
SETTLED_NS = 2_000_000_000


def sha256_of(path: Path) -> str:
    """Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a file looked like from outside when it was hashed."""

    path: str
    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Seen:
        """Raises OSError."""
        stat = path.stat()
        return cls(str(path.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ino)

    @property
    def settled(self) -> bool:
        return time.time_ns() - self.mtime_ns > SETTLED_NS


class Hashes:
    """sha256 by file, kept in `artifacts/.hashes/`; safe to lose."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def sha256(self, path: Path) -> str:
        """Of the file as it is now: read only when it looks changed. Raises OSError, FarmError (no room)."""
        seen = Seen.of(path)
        note = self._note(seen.path)
        if (known := _read(note)) and known == {**asdict(seen), "sha256": known.get("sha256")}:
            return known["sha256"]
        sha256 = sha256_of(path)
        if seen == Seen.of(path) and seen.settled:
            self._write(note, seen, sha256)
        return sha256

    def _write(self, note: Path, seen: Seen, sha256: str) -> None:
        atomic.write_atomic(note, json.dumps({**asdict(seen), "sha256": sha256}).encode())

    def _note(self, path: str) -> Path:
        name = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:24]
        return self.home.folder("artifacts", ".hashes") / f"{name}.json"


def _read(note: Path) -> dict[str, str] | None:
    try:
        known = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) else None
