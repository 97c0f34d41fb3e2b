"""The names of landed files: `<cell id>.<attempt>` says which run it was."""

from __future__ import annotations

from pathlib import Path

from storage.home import Home


def file_stem(cell_id: str, attempt: int) -> str:
    return f"{cell_id}.{attempt}"


def parse_stem(stem: str) -> tuple[str, int] | None:
    """(cell id, attempt) of a file's stem, None for any other name."""
    cell_id, _, attempt = stem.rpartition(".")
    if not cell_id or cell_id.startswith(".") or not (attempt.isascii() and attempt.isdecimal()):
        return None
    return cell_id, int(attempt)


def cell_path(home: Home, cell_id: str, attempt: int) -> Path:
    return home.cells / f"{file_stem(cell_id, attempt)}.json"


def trace_path(home: Home, cell_id: str, attempt: int) -> Path:
    return home.traces / f"{file_stem(cell_id, attempt)}.jsonl"
