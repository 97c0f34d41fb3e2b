"""Perplexities chunk by chunk, and the texts they are of."""

from __future__ import annotations

from collections.abc import Iterable

from storage.reading import Reader

Key = tuple[str, int]  # (cell id, attempt)

CHUNKS = """
SELECT cell, attempt, list(n ORDER BY "index"), list(nll ORDER BY "index") FROM chunks
WHERE n > 0 AND (cell, attempt) IN (SELECT unnest($cells), unnest($attempts)) GROUP BY cell, attempt
"""
TEXTS = """
SELECT cell, attempt, text_sha256 FROM texts WHERE (cell, attempt) IN (SELECT unnest($cells), unnest($attempts))
"""


def chunks(reader: Reader, keys: Iterable[Key]) -> dict[Key, tuple[tuple[int, ...], tuple[float, ...]]]:
    """In order: the tokens scored in each chunk, and its summed nll (nats). Those without chunks are left out."""
    rows = reader.rows(CHUNKS, named) if (named := _named(keys)) else []
    return {(cell, attempt): (tuple(tokens), tuple(nll)) for cell, attempt, tokens, nll in rows}


def texts(reader: Reader, keys: Iterable[Key]) -> dict[Key, str]:
    """The sha256 of the text of each; empty where that is not known."""
    rows = reader.rows(TEXTS, named) if (named := _named(keys)) else []
    return {(cell, attempt): text or "" for cell, attempt, text in rows}


def _named(keys: Iterable[Key]) -> dict[str, list[object]]:
    pairs = list(keys)
    return {"cells": [cell for cell, _ in pairs], "attempts": [attempt for _, attempt in pairs]} if pairs else {}
