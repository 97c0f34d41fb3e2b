"""Which quantfarm this is: part of every result's conditions."""

from __future__ import annotations

import functools
import subprocess
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def _git(*arguments: str) -> str:
    try:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


@functools.cache
def version() -> str:
    """`0.1.0`, with the commit when run from a checkout: `0.1.0 (ab12cd3, modified)`."""
    number = metadata.version("quantfarm")
    if not (ROOT / ".git").exists() or not (commit := _git("rev-parse", "--short", "HEAD")):
        return number
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "*.py")
    return f"{number} ({commit}{', modified' if changed else ''})"
