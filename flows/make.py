"""Make what cells need before they can run: variants, and the base's logits for KL divergence."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agents import Agent
from flows import building_host, environments
from flows.making_steps import MakeError, in_turn, never, run_step
from flows.progress import tell
from flows.sources import Files
from quantfarm.errors import UsageError
from quantfarm.models import folder as folders
from quantfarm.nouns import Artifact, Cell, Plan, Trace, Variant, Workload, digest
from quantfarm.quantizers import AS_IS, quantizer
from quantfarm.runtimes import runtime
from storage import atomic, contents
from storage.artifacts import Artifacts
from storage.home import Home


def variant(home: Home, agent: Agent, wanted: Variant, source: Files, stopped: Callable[[], bool] = never) -> Artifact:
    """The artifact of a variant: from the store, what was given as it is, or made now. Raises MakeError, Stopped."""
    store = Artifacts(home)
    if found := store.find(wanted.recipe):
        return found
    if wanted.recipe.quantizer == AS_IS:
        return _as_is(store, agent, wanted, source, stopped)
    tell("making", f"{wanted.model} {wanted.name}")
    artifact = _made(home, agent, wanted, source, stopped)
    tell("made", f"{wanted.model} {wanted.name}: {artifact.bits_per_weight:.2f} bits per weight")
    return artifact


def _as_is(store: Artifacts, agent: Agent, wanted: Variant, source: Files, stopped: Callable[[], bool]) -> Artifact:
    if wanted.format != "gguf":
        assert source.folder
        return store.refer(source.folder, wanted.recipe, **folders.described(source.folder))
    assert source.gguf
    made_by = quantizer("gguf")
    command = made_by.command(wanted.recipe, {"source": str(source.gguf)}, "")
    facts = made_by.parse(run_step(agent, command, _events, f"reading {source.gguf}", stopped))
    return store.refer(source.gguf, wanted.recipe, **facts)


def _made(home: Home, agent: Agent, wanted: Variant, source: Files, stopped: Callable[[], bool]) -> Artifact:
    made_by, store = quantizer(wanted.recipe.quantizer), Artifacts(home)
    given = source.folder if made_by.source == "hf" else source.gguf
    assert given
    files = contents.named(given, "source")
    if made_by.needs(wanted.recipe):
        from flows import calibrating  # noqa: PLC0415 - only where something is learnt

        files |= calibrating.needed_files(home, agent, wanted.recipe, given, source.calibration, stopped)
    out = store.partial(wanted.recipe, folder=made_by.folder)
    try:
        what = f"quantizing {wanted.name}"
        facts = building_host.make(home, agent, made_by, wanted.recipe, files, out, what, stopped)
        return store.adopt(out, wanted.recipe, **facts)
    finally:
        contents.remove(out)


def _events(lines: list[str]) -> Trace:
    return runtime("llama_cpp").parse(lines)


def check_text(agent: Agent, plan: Plan, source: Path, text: Path, called: str) -> None:
    """Is the text long enough for the plan's perplexity? Raises UsageError with how many tokens it has.

    `called`: how the user knows the text.
    """
    for cell in plan.cells:
        reads = "gguf" in runtime(cell.runtime).formats  # a published folder's tokenizer has its GGUF's ids
        if cell.workload.kind == "quality" and reads and "tokens" in runtime(cell.runtime).workloads:
            asked = replace(cell, workload=Workload(kind="tokens", parameters=cell.workload.parameters))
            under = runtime(cell.runtime)
            command = under.command(asked, {"model": str(source), "text": str(text)})
            try:
                run_step(agent, command, under.parse, "counting the text's tokens")
            except MakeError as error:
                raise UsageError(str(error).replace(str(text), called)) from error
            return


def base_logits_key(cell: Cell, base: Artifact) -> str:
    """One file serves every cell that asks the same of the base."""
    return digest([base.sha256, cell.runtime, cell.build, sorted(cell.workload.settings.items())])


def logits_path(home: Home, cell: Cell, base: Artifact) -> Path:
    return home.folder("base_logits") / f"{base_logits_key(cell, base)}.logits"


def base_logits(
    home: Home, agent: Agent, cell: Cell, base: Artifact, text: Path, stopped: Callable[[], bool] = never
) -> Path:
    """llama-perplexity's base-logits file for a quality cell's text and settings; made when it is not there.

    A working file, large and cheap to make again: it is not part of any result. Who wants it while another makes
    it waits for that. Raises MakeError, Stopped.
    """
    path = logits_path(home, cell, base)
    with in_turn(path.with_suffix(".lock"), stopped):
        if not path.exists():
            tell("making", f"{cell.variant.model} {base.recipe.quant} base logits")
            _logits(home, agent, cell, base, text, path, stopped)
    return path


def _format(base: Artifact) -> str:
    return quantizer("hf").format if base.recipe.quant in quantizer("hf").quants else "gguf"


def _logits(
    home: Home, agent: Agent, cell: Cell, base: Artifact, text: Path, path: Path, stopped: Callable[[], bool]
) -> None:
    out = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    of_base = replace(cell.variant, format=_format(base), quant=base.recipe.quant, recipe=base.recipe)
    asked = replace(cell, variant=of_base, workload=Workload(kind="logits", parameters=cell.workload.parameters))
    under = runtime(cell.runtime)
    there: dict[str, Path] = {**Artifacts(home).files(base), "text": text, "out": out}
    files = {name: str(path) for name, path in (*there.items(), *under.files(asked).items())}
    if python := environments.python(under):
        files["python"] = str(python)
    try:
        run_step(agent, under.command(asked, files), under.parse, "base logits", stopped)
        atomic.replace(out, path)
    finally:
        out.unlink(missing_ok=True)
