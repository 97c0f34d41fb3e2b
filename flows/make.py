"""Make what cells need before they can run: variants, and the base's logits for KL divergence."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from agents import Agent, Exit
from flows import environments
from flows.progress import tell
from flows.sources import Files
from flows.stopping import Stopped
from quantfarm.errors import FarmError, UsageError
from quantfarm.models import folder as folders
from quantfarm.nouns import Artifact, Cell, Plan, Trace, Variant, Workload, digest
from quantfarm.quantizers import AS_IS, quantizer
from quantfarm.runtimes import runtime
from storage import atomic, contents
from storage.artifacts import Artifacts
from storage.home import Home

MAKE_LIMIT_S = 24 * 3600.0
#: Between two looks at whether who makes the same is done.
PAUSE_S = 0.2


class MakeError(FarmError):
    """A variant could not be made: its cells fail with this reason, the sweep goes on."""


def never() -> bool:
    """Nobody asks to stop."""
    return False


def _run(
    agent: Agent,
    command: Sequence[str],
    parse: Callable[[list[str]], Trace],
    what: str,
    stopped: Callable[[], bool] = never,
) -> Trace:
    """Run a making step; its trace. Raises MakeError with what the step itself said, Stopped."""
    lines: list[str] = []
    left = agent.run(command, on_line=lines.append, limit_s=MAKE_LIMIT_S, stopped=stopped)
    if stopped():
        raise Stopped(f"{what}: stopped")
    try:
        trace = parse(lines)
    except ValueError as error:
        raise MakeError(f"{what}: printed what is not an event: {error}") from error
    if not trace.finished or left.reason:
        raise MakeError(f"{what}: {_why(trace, left)}")
    return trace


def _why(trace: Trace, left: Exit) -> str:
    said = left.stderr.strip().splitlines()[-1:]
    return left.reason or str(trace.first("end").get("error", "")) or " ".join([f"exit status {left.code}", *said])


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
    facts = made_by.parse(_run(agent, command, _events, f"reading {source.gguf}", stopped))
    return store.refer(source.gguf, wanted.recipe, **facts)


def _made(home: Home, agent: Agent, wanted: Variant, source: Files, stopped: Callable[[], bool]) -> Artifact:
    made_by, store = quantizer(wanted.recipe.quantizer), Artifacts(home)
    given = source.folder if made_by.source == "hf" else source.gguf
    assert given
    files = {name: str(path) for name, path in contents.named(given, "source").items()}
    if made_by.needs(wanted.recipe):
        from flows import calibrating  # noqa: PLC0415 - only where something is learnt

        more = calibrating.needed_files(home, agent, wanted.recipe, given, source.calibration, stopped)
        files |= {name: str(path) for name, path in more.items()}
    if python := environments.python(made_by):
        files["python"] = str(python)
    out = store.partial(wanted.recipe, folder=made_by.folder)
    try:
        command = made_by.command(wanted.recipe, files, str(out))
        trace = _run(agent, command, _events, f"quantizing {wanted.name}", stopped)
        return store.adopt(out, wanted.recipe, **made_by.parse(trace))
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
                _run(agent, command, under.parse, "counting the text's tokens")
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
    with _in_turn(path.with_suffix(".lock"), stopped):
        if not path.exists():
            tell("making", f"{cell.variant.model} {base.recipe.quant} base logits")
            _logits(home, agent, cell, base, text, path, stopped)
    return path


@contextlib.contextmanager
def _in_turn(path: Path, stopped: Callable[[], bool]) -> Iterator[None]:
    """Holds the lock; who is told to stop does not wait for it any longer. Raises Stopped."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if stopped():
                    raise Stopped("stopped while another makes the same base logits") from None
                time.sleep(PAUSE_S)
        yield


def _logits(
    home: Home, agent: Agent, cell: Cell, base: Artifact, text: Path, path: Path, stopped: Callable[[], bool]
) -> None:
    out = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    asked = replace(cell, workload=Workload(kind="logits", parameters=cell.workload.parameters))
    under = runtime(cell.runtime)
    there: dict[str, Path] = {**Artifacts(home).files(base), "text": text, "out": out}
    files = {name: str(path) for name, path in (*there.items(), *under.files(asked).items())}
    if python := environments.python(under):
        files["python"] = str(python)
    try:
        _run(agent, under.command(asked, files), under.parse, "base logits", stopped)
        atomic.replace(out, path)
    finally:
        out.unlink(missing_ok=True)
