"""llama-bench -o jsonl: a row a line; what this farm exports as llama-bench is of this form too."""

from __future__ import annotations

from quantfarm.exchange.figure import Importer, Reading
from quantfarm.exchange.llama_bench import reading
from quantfarm.exchange.reading import json_lines


def recognises(text: str) -> bool:
    first = text.lstrip().split("\n", 1)[0]
    return first.startswith("{") and '"n_prompt"' in first and '"n_gen"' in first


def read(text: str) -> Reading:
    """Raises Wrong."""
    return reading(json_lines(text))


IMPORTER = Importer(recognises, read)
