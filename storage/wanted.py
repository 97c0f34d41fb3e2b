"""Who waits for which device, and how urgently: so that who holds it hands it over between two cells.

HOME/wanted/DEVICE/PRIORITY.NAME   locked (flock) by who waits: one that died waits no more
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from quantfarm.errors import FarmError
from quantfarm.nouns import DeviceProfile
from storage.devices import folder_name
from storage.home import Home


def device_of(profile: DeviceProfile) -> str:
    """What is leased: this machine is one device under whatever name."""
    return "local" if profile.kind == "local" else profile.name


@contextlib.contextmanager
def waiting(home: Home, device: str, priority: int, holder: str) -> Iterator[None]:
    """Within this block the caller is known to wait. Where that cannot be written down it waits all the same."""
    path = _folder(home, device) / f"{priority:+d}.{os.getpid()}-{secrets.token_hex(4)}"
    file: IO[str] | None = None
    try:
        with contextlib.suppress(OSError, FarmError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("x")
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps({"holder": holder, "pid": os.getpid()}))
            file.flush()
        yield
    finally:
        if file:
            path.unlink(missing_ok=True)
            file.close()


def waiters(home: Home, device: str) -> list[str]:
    """Everybody who waits now, in words, the most urgent first."""
    found = [(mark, path) for path in _waiters(home, device) if (mark := _mark(path)) is not None]
    return [said for _, path in sorted(found, reverse=True) if (said := _alive(path))]


def more_urgent(home: Home, device: str, priority: int) -> str:
    """Who waits with a higher priority than this, in words; empty where nobody does."""
    for path in _waiters(home, device):
        mark = _mark(path)
        if mark is None or mark <= priority:
            continue
        if said := _alive(path):
            return said
    return ""


def _folder(home: Home, device: str) -> Path:
    return home.root / "wanted" / folder_name(device)


def _waiters(home: Home, device: str) -> list[Path]:
    try:
        with os.scandir(_folder(home, device)) as entries:
            return [Path(entry.path) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _mark(path: Path) -> int | None:
    """The priority that a file's name says; None of a name that says none."""
    mark = path.name.partition(".")[0]
    return int(mark) if mark.lstrip("+-").isdecimal() else None


def _alive(path: Path) -> str:
    """Who waits; empty for one that has died, whose file goes."""
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _holder(file)
            if os.fstat(file.fileno()).st_size:  # written down and not locked: it died
                path.unlink(missing_ok=True)
    except OSError:
        pass
    return ""


def _holder(file: IO[str]) -> str:
    try:
        return str(json.loads(file.read())["holder"])
    except (ValueError, KeyError, TypeError):
        return "somebody"
