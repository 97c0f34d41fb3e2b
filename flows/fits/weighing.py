"""The weights of variants: by the file where it is made, else by the types that its quantizer would give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from flows.fits import asking, published
from flows.fits.predicting import Weights
from quantfarm import models
from quantfarm.fits import NOMINAL_BITS
from quantfarm.memory_model import tensors
from quantfarm.memory_model.parts import MIB
from quantfarm.memory_model.tensors import Tensor
from quantfarm.models import ModelSource
from quantfarm.nouns import Variant
from quantfarm.quantizers import AS_IS
from quantfarm.variants import Source
from storage.artifacts import Artifacts
from storage.home import Home


def weights(
    home: Home, found: ModelSource, source: Source, variants: Sequence[Variant], file: Path | None
) -> list[Weights]:
    """Of each variant, in order. Raises FarmError."""
    ours = [one for one in variants if one.format == "gguf"]
    by_quant = asking.tensors(home, file, [_quant(one) for one in ours]) if file and ours else {}
    header = _header(file) if file else 0
    made = Artifacts(home)
    return [
        _gguf(source, one, by_quant.get(_quant(one), []), header, _size(made, one))
        if one.format == "gguf"
        else published.weights(found, one, _size(made, one))
        for one in variants
    ]


def _quant(variant: Variant) -> str:
    return asking.AS_IS if variant.recipe.quantizer == AS_IS else variant.quant


def _size(made: Artifacts, variant: Variant) -> int | None:
    """Bytes of a made file; of a folder those of its tensors: a tokenizer's files are read and let go."""
    artifact = made.find(variant.recipe) if variant.recipe.quantizer != AS_IS else None
    if artifact is None or variant.format == "gguf":
        return artifact.size if artifact else None
    return int(artifact.facts.get("tensor_bytes") or artifact.size)


def _header(file: Path) -> int:
    """Bytes of a GGUF that are no weights: the vocabulary above all, which every quantization keeps."""
    facts = models.inspect(file)["facts"]
    return int(facts["size"]) - int(facts["tensor_bytes"])


def _gguf(source: Source, variant: Variant, found: Sequence[Tensor], header: int, made: int | None) -> Weights:
    if not found:
        bits = NOMINAL_BITS.get(variant.quant, 16.0)
        return Weights(
            name=variant.name,
            format=variant.format,
            mib=(made or source.n_params * bits / 8) / MIB,
            kind=variant.quant,
            bits_per_weight=bits,
            exact=made is not None,
            made=made is not None,
        )
    return Weights(
        name=variant.name,
        format=variant.format,
        mib=(made or sum(one.bytes for one in found) + header) / MIB,
        kind=_usual(found),
        tensors=found,
        bits_per_weight=tensors.bits_per_weight(found),
        types=tensors.types(found),
        made=made is not None,
    )


def _usual(found: Sequence[Tensor]) -> str:
    """The type of most weights of matrices."""
    counted: Counter[str] = Counter()
    for one in found:
        if one.is_matrix:
            counted[one.type] += one.weights
    return counted.most_common(1)[0][0] if counted else "F32"
