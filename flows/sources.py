"""The model of a sweep: what the plan needs to know of it, and the files that variants are made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flows.progress import tell
from quantfarm import models
from quantfarm.models import ModelSource
from quantfarm.toolchain.news import Step
from quantfarm.variants import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What variants are made from, on this machine: the model as a GGUF and as its published folder, and the text
    that quantizers learn from."""

    gguf: Path | None = None
    folder: Path | None = None
    calibration: Path | None = None


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
    return of(models.resolve(model, _tell))


def file_of(model: str) -> Path | None:
    """The GGUF itself where the model is one already; None for what must be fetched or converted first."""
    found = models.resolve(model, _tell)
    return found.path if found.format == "gguf" else None


def fetch(model: str, *, gguf: bool = True, folder: bool = False) -> tuple[Source, Files]:
    """The source, its GGUF (converted where needed) and its published folder, as far as they are asked for.

    A hub's model is downloaded. Raises FarmError.
    """
    found = models.resolve(model, _tell)
    for note in found.notes:
        tell("note", note)
    published = models.published(found)
    there = models.folder_path(published, _tell) if folder and published else None
    return of(found), Files(gguf=models.gguf_file(found, _tell) if gguf else None, folder=there)


def of(found: ModelSource) -> Source:
    """What a plan knows of a model. Nothing is fetched."""
    published = models.published(found)
    return Source(
        name=found.name,
        id=found.id,
        quant=found.quant,
        n_params=found.n_params,
        size=found.size,
        folder_id=published.id if published else "",
        unconvertible=found.unconvertible,
        shape={**found.facts, **(published.facts if published else {})},
    )
