"""Models: from what the user gave to something that variants can be made from.

source = resolve("reference" | "path/x.gguf" | "path/to/folder" | "org/name[@revision]")
file = gguf_file(source)    # the GGUF that variants are made from: downloaded and converted where needed
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from quantfarm import toolchain
from quantfarm.errors import UsageError
from quantfarm.models import folder, gguf, hub
from quantfarm.models.gguf import inspect
from quantfarm.models.source import ModelSource
from quantfarm.toolchain import cache
from quantfarm.toolchain.news import Step, Tell, nobody

__all__ = ["REFERENCE", "ModelSource", "converted", "gguf_file", "inspect", "is_here", "published", "resolve"]

#: The model that is bundled with the project.
REFERENCE = "reference"
REFERENCE_FILE = Path(__file__).resolve().parent.parent.parent / "reference_model" / "reference-F16.gguf"
REFERENCE_FOLDER = REFERENCE_FILE.parent / "model"


def is_here(model: str) -> bool:
    """Whether a model can be looked at with no network: everything but a hub id."""
    return not _is_hub_id(model)


def _is_hub_id(model: str) -> bool:
    given = Path(model).expanduser()
    return bool(hub.NAME.match(model)) and not given.exists() and given.suffix != ".gguf"


def resolve(model: str, tell: Tell = nobody) -> ModelSource:
    """What a model is, with its identity and shape; nothing of a hub model but its listing and config is fetched.

    Raises UsageError with one message for everything that is no usable model.
    """
    if model == REFERENCE:
        return gguf.file(REFERENCE_FILE, REFERENCE)
    path = Path(model).expanduser()
    if path.is_dir():
        return folder.folder(path)
    if path.is_file():
        return gguf.file(path)
    if not _is_hub_id(model):
        raise UsageError(f"no model {model}: no such file or folder (known by name: {REFERENCE}; a hub id is org/name)")
    return hub.resolve(model, tell)


def gguf_file(source: ModelSource, tell: Tell = nobody) -> Path:
    """The GGUF of a source: the file itself, or the F16 that the converter makes of it (kept in the cache).

    Raises FarmError when it cannot be downloaded or converted, with the reason.
    """
    if source.format == "gguf":
        assert source.path
        return source.path
    if source.unconvertible:
        raise UsageError(f"{source.name}: {source.unconvertible}")
    out = _converted(source)
    with cache.locked(out.with_suffix(".lock"), lambda note: tell(Step(what="wait", note=note))):
        if not out.exists():
            toolchain.convert(folder_path(source, tell), out, source.name, tell)
    return out


def converted(source: ModelSource) -> Path | None:
    """The GGUF of a source where it is here already."""
    path = source.path if source.format == "gguf" else _converted(source)
    return path if path and path.exists() else None


def _converted(source: ModelSource) -> Path:
    made_by = f"{source.id} {source.name} {toolchain.version()}"
    return cache.folder("converted") / f"{hashlib.sha256(made_by.encode()).hexdigest()}.gguf"


def published(source: ModelSource) -> ModelSource | None:
    """The model as its Hugging Face folder; None for a GGUF alone. Nothing is fetched."""
    if source.format == "hf":
        return source
    return folder.folder(REFERENCE_FOLDER, REFERENCE) if source.path == REFERENCE_FILE else None


def folder_path(source: ModelSource, tell: Tell = nobody) -> Path:
    """Where a published model lies: a hub's is downloaded. Raises FarmError."""
    path = hub.download(source, tell) if source.kind == "hub" else source.path
    assert path
    return path
