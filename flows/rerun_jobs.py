"""What a cell needs to be measured once more, from the store: its file, its text, the logits it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from agents import agent
from flows import devices
from flows.execute import Job
from flows.logits import Logits, compares
from quantfarm import variants
from quantfarm.errors import FarmError
from quantfarm.nouns import Artifact, Cell, Recipe
from quantfarm.quantizers import AS_IS, quantizer
from storage import wanted
from storage.artifacts import Artifacts
from storage.home import Home


class Gone(FarmError):
    """What was measured is not there any more: no later try will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Who makes logits for a rerun, and what is told of whom it waits for: it is work for this machine."""

    logits: Logits
    holder: str
    priority: int
    waiting: Callable[[str], None]


def job(home: Home, cell: Cell, sweep: str, night: str, maker: Maker) -> Job:
    """All that the cell needs, from the store. The caller holds no device. Raises Gone, MakeError, Stopped."""
    store = Artifacts(home)
    artifact = store.find(cell.variant.recipe)
    if artifact is None:
        recipe = cell.variant.recipe
        raise Gone(
            f"the artifact of {cell.variant.model} {cell.variant.name} ({recipe.tool or recipe.quantizer})"
            " is not in the store any more"
        )
    if cell.workload.kind in ("tasks", "rolling", "speculative"):
        raise Gone(f"{cell.workload.label} is not measured again by night")
    files = store.files(artifact)
    if cell.workload.kind == "quality":
        files |= _texts(home, cell, maker)
    return Job(cell=cell, attempt=0, artifact=artifact, files=files, sweep=sweep, night=night)


def _texts(home: Home, cell: Cell, maker: Maker) -> dict[str, Path]:
    text = home.root / "texts" / f"{cell.workload.settings.get('text_sha256')}.txt"
    if not text.exists():
        raise Gone(f"the text that {cell.label} was measured on is gone: {text}")
    base = _base(home, cell)
    if base is None or not compares(cell):
        return {"text": text}
    return {"text": text, "base_logits": maker.logits.find(cell, base) or _made(home, cell, base, text, maker)}


def _made(home: Home, cell: Cell, base: Artifact, text: Path, maker: Maker) -> Path:
    host = agent(devices.known(home)[devices.LOCAL])
    with ExitStack() as held:
        with wanted.waiting(home, wanted.device_of(host.profile), maker.priority, maker.holder):
            held.enter_context(host.lease(maker.holder, maker.waiting))
        return maker.logits.make(host, cell, base, text)


def _base(home: Home, cell: Cell) -> Artifact | None:
    """The unquantized model that a sweep compares with."""
    source, store = cell.variant.recipe.source, Artifacts(home)
    if cell.variant.format != "gguf":
        return store.find(Recipe(source=source, quantizer=AS_IS, quant=variants.PUBLISHED))
    as_is = Recipe(source=source, quantizer=AS_IS, quant=variants.BASE)
    made = Recipe(source=source, quantizer="gguf", quant=variants.BASE, tool=quantizer("gguf").tool())
    return store.find(as_is) or store.find(made)
