"""The canary: about a minute that says whether a device is still the one it was, and computes what it should.

bench pp64 tg32 × 3 of the reference model, and its perplexity over 4 chunks where a runtime of the device can:
that is compared with this machine's, which is measured once and kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agents import agent
from flows import execute, sources, texts
from flows.execute import Job
from flows.station import Station, leased
from flows.stopping import Stopped
from quantfarm import health, planning, suites, variants
from quantfarm.errors import FarmError
from quantfarm.health import Canary
from quantfarm.models import REFERENCE, REFERENCE_FILE
from quantfarm.nouns import Artifact, Cell, DeviceProfile, State, Variant, Workload, digest
from quantfarm.runtimes import runtime
from quantfarm.sweeps import Sweep
from storage import atomic, fencing
from storage.devices import Registry, now
from storage.home import Home
from storage.landing import TraceWriter

#: About how long it takes, in seconds; for who waits.
ABOUT_S = 60.0
LIMIT_S = 600.0
QUANT = "F16"  # of the reference model's own file: nothing has to be made
SPEED: dict[str, Any] = {"kind": "bench", "n_prompt": 64, "n_gen": 32, "repetitions": 3}
QUALITY: dict[str, Any] = {"kind": "quality", "n_chunks": 4}
#: What of a canary's conditions is kept.
KEPT = ("os", "backend", "versions", "load_1min", "governor", "on_mains", "hot_start", "quantfarm")
FIGURES = ("bench_pp", "bench_tg", "ppl")


class Failed(FarmError):
    """The device was reached, and could not do what a canary asks."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What every canary asks: a file, a text, and the perplexity that this machine finds in it (None: not known)."""

    artifact: Artifact
    variant: Variant
    text: Path
    text_sha256: str
    perplexity: float | None


def question(home: Home, host: DeviceProfile, on_wait: Callable[[str], None]) -> Question:
    """What to ask. The first time, this machine computes its own answer (a few seconds); so ask before a lease
    is held: this machine's may be the same one. Raises FarmError."""
    source = sources.describe(REFERENCE)
    variant = variants.variants([QUANT], source)[0]
    text = texts.read(Sweep.model_validate({}))
    asked = Question(
        artifact=Artifact(sha256=source.id, size=source.size, recipe=variant.recipe),
        variant=variant,
        text=texts.keep(home, text),
        text_sha256=texts.sha256(text),
        perplexity=None,
    )
    return replace(asked, perplexity=_hosts(home, host, asked, on_wait))


def _hosts(home: Home, host: DeviceProfile, asked: Question, on_wait: Callable[[str], None]) -> float:
    cell = _cell(host, "llama_cpp", runtime("llama_cpp").build(), QUALITY, asked)
    kept = home.folder("reference_values") / f"{cell.id}.json"
    try:
        return float(json.loads(kept.read_bytes())["ppl"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with leased(agent(host), "the canary's reference value", on_wait) as station:
        value = _measure(home, station, cell, asked, lambda: False)[0]["ppl"]
    atomic.write_atomic(kept, (json.dumps({"ppl": value, "build": cell.build}) + "\n").encode())
    return value


def able(profile: DeviceProfile, kind: str) -> str:
    """The first runtime of a device that can measure a kind of workload; empty where none can."""
    own = profile.runtimes or planning.DEFAULT_RUNTIMES
    able = (name for name in own if kind in runtime(name).workloads)
    return next(able, "")


def run(home: Home, station: Station, asked: Question, stopped: Callable[[], bool]) -> Canary:
    """One canary on a leased device, judged and kept. Raises AgentError, Failed (which is kept too) and Stopped."""
    profile, registry = station.profile, Registry(home)
    under = able(profile, "bench")
    build = planning.build_of(profile, runtime(under)) if under else ""
    canary = Canary(
        device=profile.name, at=now(), series="", runtime=under, build=build, clean=False, figures={}, conditions={}
    )
    try:
        canary = _taken(home, station, asked, canary, stopped)
    except Failed as error:
        registry.add(replace(canary, why=health.one_line(str(error))))
        raise
    if not station.lease.held():
        raise Failed(execute.LEASE_LOST, retryable=True)
    fencing.admit(home, profile.name, station.lease.token)
    why = _wrong(canary, asked, registry, profile)
    return registry.add(replace(canary, clean=not why, why=why))


def _taken(home: Home, station: Station, asked: Question, canary: Canary, stopped: Callable[[], bool]) -> Canary:
    profile = station.profile
    if not canary.runtime:
        raise Failed(f"{profile.name} has no runtime to measure with", retryable=False)
    cell = _cell(profile, canary.runtime, canary.build, SPEED, asked)
    figures, conditions = _measure(home, station, cell, asked, stopped)
    series = [Registry(home).registrations(profile.name), profile.os, profile.chip, profile.accelerators]
    series += [cell.series, conditions.get("versions"), conditions.get("backend")]
    if (quality := able(profile, "quality")) and not profile.simulated:  # a simulated one computes nothing
        cell = _cell(profile, quality, planning.build_of(profile, runtime(quality)), QUALITY, asked)
        more, _ = _measure(home, station, cell, asked, stopped)
        figures, series = figures | more, [*series, cell.series]
    kept = {name: conditions[name] for name in KEPT if conditions.get(name) is not None}
    return replace(canary, series=digest(_plain(series)), figures=figures, conditions=_plain(kept))


def _wrong(canary: Canary, asked: Question, registry: Registry, profile: DeviceProfile) -> str:
    """Why it is not clean; empty when it is."""
    ppl = canary.figures.get("ppl")
    if ppl is not None and asked.perplexity and (why := health.unlike(ppl, asked.perplexity)):
        return f"{why}: this machine's; a backend of {profile.name} computes wrongly"
    hot = bool(canary.conditions.get("hot_start"))
    judged = {name: value for name, value in canary.figures.items() if name == "ppl" or not hot}
    return health.drift(judged, health.history(registry.canaries(profile.name), canary.series))


def _cell(profile: DeviceProfile, under: str, build: str, asks: Mapping[str, Any], asked: Question) -> Cell:
    common = {"threads": profile.cores, "text_sha256": asked.text_sha256}
    workload: Workload = suites.workload(asks, common)
    return Cell(profile=profile, variant=asked.variant, runtime=under, build=build, workload=workload)


def _measure(
    home: Home, station: Station, cell: Cell, asked: Question, stopped: Callable[[], bool]
) -> tuple[dict[str, float], Mapping[str, Any]]:
    """Figures and conditions; no row of results is made. Raises AgentError, Failed, Stopped."""
    files = {"model": REFERENCE_FILE} | ({"text": asked.text} if cell.workload.kind == "quality" else {})
    job = Job(cell=cell, attempt=0, artifact=asked.artifact, files=files, limit_s=LIMIT_S)
    with TraceWriter(home, cell.id, 0) as trace:
        try:
            found = execute.measure(station, job, trace, stopped)
        finally:
            trace.discard()
    if stopped():
        raise Stopped("stopped before the canary was over")
    if found.outcome.state is not State.OK:
        reason = f"{cell.workload.label} under {cell.runtime}: {found.outcome.stage}: {found.outcome.reason}"
        raise Failed(reason, retryable=found.outcome.retryable)
    return {m.metric: m.value for m in found.measurements if m.metric in FIGURES}, found.conditions


def _plain(thing: Any) -> Any:
    """What JSON can hold of it."""
    return json.loads(json.dumps(thing, default=str))
