"""A part's log file: written by the part itself, kept bounded by whoever watches it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LIMIT = 8 * 2**20
TAIL = 4096


def bound(log: Path, limit: int = LIMIT) -> None:
    """A log over `limit` bytes becomes `NAME.1` and begins anew. Its writer appends, so it goes on at the start."""
    try:
        if log.stat().st_size <= limit:
            return
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)
    except OSError:
        return  # a full disk is told of elsewhere; a log is no reason to stop


def last_line(log: Path) -> str:
    """The last line that says something, shortened."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip(" -─═|+")), "")
