"""From names to variants: what each is made from, by whom, and what a request needs for it. Touches nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quantfarm.calibration import NEEDED_TOKENS
from quantfarm.errors import UsageError
from quantfarm.nouns import Recipe, Scalar, Variant, parameters
from quantfarm.quantizers import AS_IS, Learner, Quantizer, asked
from quantfarm.quantizers.gguf import WITH_IMATRIX
from quantfarm.sweeps import DEFAULT_QUANTS, Sweep

#: The quantizations that quality is compared to: of GGUFs, and of what is made from the published folder.
BASE, PUBLISHED = "F16", "HF"
#: Quantizations of a source that others can be made from.
UNQUANTIZED = frozenset({"F32", "F16", "BF16"})
#: GGUF types that are read as they are and made by nobody here.
READ_ONLY = frozenset({*UNQUANTIZED, "TQ1_0", "TQ2_0", "MXFP4_MOE", "NVFP4", "Q1_0", "Q2_0", "Q2_K_S"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a plan needs to know of a model. `quant` is the source file's own; `id` as in Recipe.source.

    `folder_id`: the same of its Hugging Face folder; empty for a model that is a GGUF alone. `unconvertible`: why no
    GGUF can be made of that. `shape`: architecture of the folder, n_layer, n_head_kv, head_dim, n_vocab where known.
    """

    name: str
    id: str
    quant: str
    n_params: int
    size: int
    folder_id: str = ""
    unconvertible: str = ""
    shape: Mapping[str, Any] = field(default_factory=dict[str, Any])


def variants(names: Sequence[str], source: Source, calibration: str = "") -> tuple[Variant, ...]:
    """The variants asked for; none named: the source's own quantization, or the usual ones.

    Raises UsageError for an unknown quant or one that cannot be made from the source.
    """
    wanted = names or ((source.quant,) if source.quant not in UNQUANTIZED else DEFAULT_QUANTS)
    return tuple(_variant(name, source, calibration) for name in wanted)


def _variant(name: str, source: Source, calibration: str) -> Variant:
    if name == source.quant and not source.unconvertible:
        recipe = Recipe(source=source.id, quantizer=AS_IS, quant=name)
        return Variant(model=source.name, format="gguf", quant=name, recipe=recipe)
    made_by, quant, options = asked(name)
    if why := obstacle(made_by, source):
        raise UsageError(f"{name} cannot be made of {source.name}: {why}")
    id_ = source.folder_id if made_by.source == "hf" else source.id
    if made_by.name == "hf":
        recipe = Recipe(source=id_, quantizer=AS_IS, quant=quant)
    else:
        recipe = Recipe(
            source=id_, quantizer=made_by.name, quant=quant, tool=made_by.tool(), options=parameters(options)
        )
        if {"calibration", "imatrix"} & set(made_by.needs(recipe)):
            recipe = replace(recipe, options=parameters({**options, "calibration_sha256": calibration}))
    return Variant(model=source.name, format=made_by.format, quant=quant, recipe=recipe)


def obstacle(made_by: Quantizer, source: Source) -> str:
    """Why a quantizer can make nothing of a model; empty when it can."""
    if made_by.source == "hf" and not source.folder_id:
        return f"it is made from a Hugging Face folder, and {source.name} is a GGUF alone"
    if made_by.source == "gguf" and source.unconvertible:
        return source.unconvertible
    if made_by.source == "gguf" and source.quant not in UNQUANTIZED:
        return f"it is quantized already ({source.quant}): give an F16, BF16 or F32 model"
    return made_by.obstacle(source.shape)


def base(source: Source, format: str = "gguf") -> Variant | None:
    """The unquantized variant that those of a format are compared with; None for a model that came quantized."""
    if format != "gguf":
        return _variant(PUBLISHED, source, "") if source.folder_id else None
    return _variant(BASE, source, "") if source.quant in UNQUANTIZED and not source.unconvertible else None


def made(sweep: Sweep) -> list[tuple[Quantizer, str, dict[str, Scalar]]]:
    """What the request says is made; none where the model says what its usual quantizations are."""
    return [asked(name) for name in sweep.wanted_quants if name not in _as_given(sweep)]


def _as_given(sweep: Sweep) -> frozenset[str]:
    """Quantizations by which a request can name only what its GGUF is already: nobody makes them, or nobody so."""
    return READ_ONLY | frozenset(WITH_IMATRIX) if sweep.model.endswith(".gguf") else READ_ONLY


def calibrated(sweep: Sweep) -> bool:
    """Whether a variant learns from a text. Raises UsageError for an unknown quant."""
    return any(
        made_by.needs(Recipe(source="", quantizer=made_by.name, quant=quant, options=parameters(options)))
        for made_by, quant, options in made(sweep)
    )


def calibration_tokens(sweep: Sweep, shape: Mapping[str, Any]) -> int:
    """How many tokens the calibration text needs, for the one that reads most of it. Raises UsageError."""
    read = [one.tokens(options, shape) for one, _, options in made(sweep) if isinstance(one, Learner)]
    return max(NEEDED_TOKENS, *read, 0)


def sources(sweep: Sweep) -> dict[str, bool]:
    """Which files of a model a request needs: its `gguf` (a published model is converted), its `folder`."""
    wanted = {made_by.source for made_by, _, _ in made(sweep)}
    usual = not sweep.wanted_quants or any(name in _as_given(sweep) for name in sweep.wanted_quants)
    return {"gguf": usual or "gguf" in wanted, "folder": "hf" in wanted}
