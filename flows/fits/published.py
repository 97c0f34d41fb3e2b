"""Weights of the formats that are made from a Hugging Face folder."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from flows.fits.predicting import Weights
from quantfarm import models
from quantfarm.memory_model.parts import MIB
from quantfarm.memory_model.published import Stored, bytes_of
from quantfarm.models import ModelSource, folder
from quantfarm.nouns import Variant


def weights(found: ModelSource, variant: Variant, made: int | None) -> Weights:
    """By the file where it is made; of a model that is not here by its number of weights."""
    source = models.published(found)
    stored = list(_stored(source.path)) if source and source.path else []
    count = sum(_count(one) for one in stored) or found.n_params
    size = made or bytes_of(stored, variant.quant, dict(variant.recipe.options)) or 2 * found.n_params
    return Weights(
        name=variant.name,
        format=variant.format,
        mib=size / MIB,
        bits_per_weight=8 * size / max(1, count),
        exact=bool(stored),
        made=made is not None,
    )


def _count(one: Stored) -> int:
    total = 1
    for size in one.shape:
        total *= size
    return total


def _stored(path: Path) -> Iterator[Stored]:
    """The tensors of a folder by the headers of its files, which were found whole when it was looked at."""
    for part in folder.weights(path):
        with part.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                begin, end = tensor["data_offsets"]
                yield Stored(name, tuple(tensor["shape"]), str(tensor["dtype"]), end - begin)
