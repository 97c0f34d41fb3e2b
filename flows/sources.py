"""The model of a sweep: what the plan needs to know of it, and the GGUF that variants are made from."""

from __future__ import annotations

from pathlib import Path

from flows.progress import tell
from quantfarm import models
from quantfarm.models import ModelSource
from quantfarm.planning import Source
from quantfarm.toolchain.news import Step


def is_here(model: str) -> bool:
    """Whether it can be looked at with no network."""
    return models.is_here(model)


def _tell(step: Step) -> None:
    """`downloading model.safetensors 34 %, about 12 s left`."""
    percent = f" {step.percent} %" if step.percent is not None else ""
    left = f", about {step.left_s:.0f} s left" if step.left_s is not None else ""
    tell("note", f"{step.what}{percent}{left}{f': {step.note}' if step.note else ''}")


def describe(model: str) -> Source:
    """Raises UsageError for everything that is no usable model."""
    return _described(models.resolve(model, _tell))


def file_of(model: str) -> Path | None:
    """The GGUF itself where the model is one already; None for what must be fetched or converted first."""
    found = models.resolve(model, _tell)
    return found.path if found.format == "gguf" else None


def fetch(model: str) -> tuple[Source, Path]:
    """The source and its GGUF: downloaded and converted where needed. Raises FarmError."""
    found = models.resolve(model, _tell)
    for note in found.notes:
        tell("note", note)
    return _described(found), models.gguf_file(found, _tell)


def _described(found: ModelSource) -> Source:
    return Source(
        name=found.name, id=found.id, quant=found.quant, n_params=found.n_params, size=found.size, shape=found.facts
    )
