"""What a cell needs to be measured once more, from the store: its file, its text, the logits it is compared with."""

from __future__ import annotations

from pathlib import Path

from agents import agent
from flows import devices, make
from flows.execute import Job
from quantfarm import planning
from quantfarm.errors import FarmError
from quantfarm.nouns import Artifact, Cell, Recipe
from quantfarm.quantizers import quantizer
from quantfarm.runtimes import runtime
from storage.artifacts import Artifacts
from storage.home import Home


class Gone(FarmError):
    """What was measured is not there any more: no later try will do."""


def job(home: Home, cell: Cell, sweep: str, night: str) -> Job:
    """All that the cell needs, from the store. Raises Gone."""
    store = Artifacts(home)
    artifact = store.find(cell.variant.recipe)
    if artifact is None:
        recipe = cell.variant.recipe
        raise Gone(
            f"the artifact of {cell.variant.model} {cell.variant.name} ({recipe.tool or recipe.quantizer})"
            " is not in the store any more"
        )
    files = {"model": store.path(artifact)}
    if cell.workload.kind == "quality":
        files |= _texts(home, cell)
    return Job(cell=cell, attempt=0, artifact=artifact, files=files, sweep=sweep, night=night)


def _texts(home: Home, cell: Cell) -> dict[str, Path]:
    text = home.root / "texts" / f"{cell.workload.settings.get('text_sha256')}.txt"
    if not text.exists():
        raise Gone(f"the text that {cell.label} was measured on is gone: {text}")
    base = _base(home, cell)
    if base is None or cell.profile.simulated or "logits" not in runtime(cell.runtime).workloads:
        return {"text": text}
    host = agent(devices.known(home)[devices.LOCAL])
    return {"text": text, "base_logits": make.base_logits(home, host, cell, base, text)}


def _base(home: Home, cell: Cell) -> Artifact | None:
    """The unquantized model that a sweep compares with."""
    source, store = cell.variant.recipe.source, Artifacts(home)
    as_is = Recipe(source=source, quantizer="as_is", quant=planning.BASE)
    made = Recipe(source=source, quantizer="gguf", quant=planning.BASE, tool=quantizer("gguf").tool())
    return store.find(as_is) or store.find(made)
