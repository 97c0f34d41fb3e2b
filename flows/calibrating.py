"""What a variant is made with besides its model: the calibration text, and the importance matrix that is made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agents import Agent
from flows import building_host
from flows.making_steps import MakeError, in_turn, run_step
from flows.progress import tell
from quantfarm.errors import UsageError
from quantfarm.nouns import Artifact, Recipe
from quantfarm.quantizers import quantizer
from quantfarm.quantizers.imatrix import Imatrix, recipe_for
from quantfarm.runtimes import events
from storage.artifacts import Artifacts
from storage.home import Home


def needed_files(
    home: Home, host: Agent, recipe: Recipe, source: Path, text: Path | None, stopped: Callable[[], bool]
) -> dict[str, Path]:
    """By name, on this machine. The caller holds the host's lease. Raises MakeError, Stopped.

    `source`: what the variant is made from; `text`: the calibration text, kept by its sha256.
    """
    needs = quantizer(recipe.quantizer).needs(recipe)
    if not needs:
        return {}
    if text is None or text.stem != dict(recipe.options).get("calibration_sha256"):
        raise MakeError("the calibration text that it is to be made with is not there")
    found: dict[str, Path] = {}
    if "calibration" in needs:
        found["calibration"] = text
    if "imatrix" in needs:
        found["imatrix"] = Artifacts(home).path(imatrix(home, host, recipe_for(recipe), source, text, stopped))
    return found


def imatrix(home: Home, host: Agent, recipe: Recipe, source: Path, text: Path, stopped: Callable[[], bool]) -> Artifact:
    """From the store, or made now; who wants it while another makes it waits for that. Raises MakeError, Stopped."""
    store = Artifacts(home)
    if found := store.find(recipe):
        return found
    with in_turn(home.folder("locks") / f"{recipe.id}.lock", stopped):
        if found := store.find(recipe):
            return found
        tell("making", f"importance matrix of {source.name}")
        out = store.partial(recipe)
        try:
            files = {"source": source, "calibration": text}
            made = building_host.make(home, host, Imatrix(), recipe, files, out, "importance matrix", stopped)
            artifact = store.adopt(out, recipe, **made)
        finally:
            out.unlink(missing_ok=True)
        facts = artifact.facts
        tell("made", f"importance matrix of {source.name}: {facts['entries']} tensors, {facts['chunks']} chunks")
        return artifact


def check(host: Agent, source: Path, text: Path, called: str, needed: int) -> None:
    """Has the calibration text so many tokens of the model? Raises UsageError with how many it has.

    `source`: its GGUF, on this machine; `called`: how the user knows the text.
    """
    command = Imatrix().count({"source": str(source), "calibration": str(text)}, needed)
    try:
        run_step(host, command, events.parse, "counting the calibration text's tokens")
    except MakeError as error:
        raise UsageError(f"{called}: {error}") from error
