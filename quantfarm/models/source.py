"""What a model is made from, before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model as the user gave it.

    `kind`: "gguf" (a file), "folder" (Hugging Face layout) or "hub". `id` goes into `Recipe.source`:
    the sha256 of a file, the sha256 of a folder's listing of (name, sha256), or `hub:ORG/NAME@COMMIT`.
    `path`: where it lies; None while a hub model is not downloaded. `format`: "gguf" or "hf".
    `quant`: the file type of a GGUF; F16 for the others, which are converted to it first.
    `n_params` and `size` (bytes of the weights): 0 where not known yet. `facts`: architecture, n_layer,
    n_head_kv, head_dim, n_vocab, n_ctx_train … where known. `unconvertible`: why no GGUF can be made of it, empty where
    one can. `notes`: what the user should be told.
    """

    name: str
    kind: str
    id: str
    path: Path | None
    format: str
    quant: str = "F16"
    n_params: int = 0
    size: int = 0
    revision: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    unconvertible: str = ""
    notes: tuple[str, ...] = ()
