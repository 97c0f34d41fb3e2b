"""llama-bench -o json: one list of rows."""

from __future__ import annotations

from quantfarm.exchange.figure import Importer, Reading
from quantfarm.exchange.llama_bench import reading
from quantfarm.exchange.reading import json_list


def recognises(text: str) -> bool:
    return text.lstrip().startswith("[") and '"n_prompt"' in text


def read(text: str) -> Reading:
    """Raises Wrong."""
    return reading(json_list(text))


IMPORTER = Importer(recognises, read)
