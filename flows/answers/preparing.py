"""From a question to what can answer it: devices, variants that are there, and the runtime that each is asked under."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from agents import agent
from flows import devices, environments, make, sources, texts
from flows.answers import words
from flows.progress import tell
from quantfarm import planning, sweeps, variants
from quantfarm.answers import Manner
from quantfarm.errors import UsageError
from quantfarm.nouns import Artifact, Cell, DeviceProfile, Variant, Workload, parameters
from quantfarm.runtimes import TABLE as RUNTIMES
from quantfarm.runtimes import Runtime, runtime
from quantfarm.suites import CONTEXT
from quantfarm.sweeps import Sweep
from storage.artifacts import Artifacts
from storage.home import Home

KIND = "answer"
HOLDER = "quantfarm ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`variants` empty: the usual ones."""

    model: str
    prompts: Sequence[str]
    variants: Sequence[str] = ()
    devices: Sequence[str] = ()
    runtimes: Sequence[str] = ()
    threads: int | None = None
    manner: Manner = field(default_factory=Manner)

    def sweep(self) -> Sweep:
        """The same as a request of a sweep: its names are checked alike. Raises UsageError."""
        asked = {"model": self.model, "quants": self.variants, "devices": self.devices, "runtimes": self.runtimes}
        return sweeps.request({key: value for key, value in asked.items() if value}, "the command line")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A variant on a device: `cell` says under which runtime and with which parameters."""

    cell: Cell
    artifact: Artifact


def prepare(home: Home, question: Question, stopped: Callable[[], bool]) -> dict[DeviceProfile, list[Asked]]:
    """What is asked on each device. Downloads, converts and makes what is missing. Raises UsageError, FarmError,
    Stopped."""
    sweep = question.sweep()
    planning.check(sweep)
    profiles = _fit(home, devices.chosen(home, sweep))
    source = sources.describe(sweep.model)
    learnt = texts.calibration(sweep) if variants.calibrated(sweep) else b""
    found = variants.variants(sweep.wanted_quants, source, texts.sha256(learnt) if learnt else "")
    for profile in profiles:
        for variant in found:
            under(profile, variant, question.runtimes)  # said before anything is made
    environments.make(sweep, profiles)
    # Once more: the tools of environments that were just made have versions.
    found = variants.variants(sweep.wanted_quants, source, texts.sha256(learnt) if learnt else "")
    made = _made(home, sweep, found, learnt, stopped)
    return {profile: [_asked(profile, one, made[one], question) for one in found] for profile in profiles}


def _fit(home: Home, chosen: Sequence[DeviceProfile]) -> Sequence[DeviceProfile]:
    for profile in chosen:
        if why := devices.unfit(home, profile):
            raise UsageError(why)
        if profile.simulated:
            raise UsageError(f"{profile.name} is simulated: it answers nothing")
    return chosen


def under(profile: DeviceProfile, variant: Variant, asked: Sequence[str]) -> Runtime:
    """The runtime that answers: of those asked for, or the device's own. Raises UsageError where none does."""
    named = [*asked] or [name for name in profile.runtimes if name in RUNTIMES] or list(RUNTIMES)
    able = [one for one in map(runtime, named) if KIND in one.workloads and variant.format in one.formats]
    if not able:
        raise UsageError(words.nobody(profile.name, variant, named, [name for name in RUNTIMES if _answers(name)]))
    return able[0]


def _answers(name: str) -> bool:
    return KIND in runtime(name).workloads


def _made(
    home: Home, sweep: Sweep, found: Sequence[Variant], learnt: bytes, stopped: Callable[[], bool]
) -> dict[Variant, Artifact]:
    store = Artifacts(home)
    there = {one: artifact for one in found if (artifact := store.find(one.recipe))}
    missing = [one for one in found if one not in there]
    if not missing:
        return there
    _, files = sources.fetch(sweep.model, **variants.sources(sweep))
    files = replace(files, calibration=texts.keep(home, learnt) if learnt else None)
    host = agent(devices.known(home)[devices.LOCAL])
    with host.lease(HOLDER, lambda who: tell("waiting", f"this machine is in use by {who}; waiting for it")):
        for one in missing:
            there[one] = make.variant(home, host, one, files, stopped)
    return there


def _asked(profile: DeviceProfile, variant: Variant, artifact: Artifact, question: Question) -> Asked:
    by, manner = under(profile, variant, question.runtimes), question.manner
    settings = {
        **CONTEXT,
        "n_gen": manner.n_gen,
        "temperature": manner.temperature,
        "seed": manner.seed,
        "chat": manner.chat,
        "threads": question.threads or profile.cores,
    }
    cell = Cell(
        profile=profile,
        variant=variant,
        runtime=by.name,
        build=planning.build_of(profile, by),
        workload=Workload(kind=KIND, parameters=parameters(settings)),
    )
    return Asked(cell=cell, artifact=artifact)
