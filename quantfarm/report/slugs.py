"""Names of files."""

from __future__ import annotations

import re


def slug(name: str) -> str:
    """Letters, digits and dots, the rest as single dashes: a file's name on every system."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "unnamed"
