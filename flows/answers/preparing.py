"""From a wish to what can fulfil it: devices, variants that are there, and the runtime that each runs under."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from agents import agent
from flows import devices, environments, make, sources, texts
from flows.answers import words
from flows.progress import tell
from flows.stopping import Stopped
from quantfarm import planning, sweeps, variants
from quantfarm.answers import Manner
from quantfarm.errors import UsageError
from quantfarm.nouns import Artifact, Cell, DeviceProfile, Scalar, Variant, Workload, parameters
from quantfarm.runtimes import TABLE as RUNTIMES
from quantfarm.runtimes import Runtime, runtime
from quantfarm.suites import CONTEXT
from quantfarm.sweeps import Sweep
from storage.artifacts import Artifacts
from storage.home import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants of variants now. `variants` empty: the usual ones.

    `kind` is that of the workload, `does` what a runtime then does ("answers"), `holder` who is told to have a device.
    """

    kind: ClassVar[str]
    does: ClassVar[str]
    holder: ClassVar[str]

    model: str
    variants: Sequence[str] = ()
    devices: Sequence[str] = ()
    runtimes: Sequence[str] = ()
    threads: int | None = None

    def sweep(self) -> Sweep:
        """The same as a request of a sweep: its names are checked alike. Raises UsageError."""
        asked = {"model": self.model, "quants": self.variants, "devices": self.devices, "runtimes": self.runtimes}
        return sweeps.request({key: value for key, value in asked.items() if value}, "the command line")

    def settings(self, profile: DeviceProfile) -> Mapping[str, Scalar]:
        """Of the workload on a device."""
        raise NotImplementedError

    def check(self, together: Sequence[tuple[Variant, Runtime]]) -> None:
        """Raises UsageError where what a device would run cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Wish):
    kind: ClassVar[str] = "answer"
    does: ClassVar[str] = "answers"
    holder: ClassVar[str] = "quantfarm ask"

    prompts: Sequence[str]
    manner: Manner = field(default_factory=Manner)

    def settings(self, profile: DeviceProfile) -> Mapping[str, Scalar]:
        del profile
        manner = self.manner
        return {"n_gen": manner.n_gen, "temperature": manner.temperature, "seed": manner.seed, "chat": manner.chat}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A variant on a device: `cell` says under which runtime and with which parameters."""

    cell: Cell
    artifact: Artifact


def prepare(home: Home, wish: Wish, stopped: Callable[[], bool]) -> dict[DeviceProfile, list[Asked]]:
    """What runs on each device. Downloads, converts and makes what is missing. Raises UsageError, FarmError,
    Stopped."""
    sweep = wish.sweep()
    planning.check(sweep)
    profiles = _fit(home, devices.chosen(home, sweep), wish)
    source = sources.describe(sweep.model)
    learnt = texts.calibration(sweep) if variants.calibrated(sweep) else b""
    found = variants.variants(sweep.wanted_quants, source, texts.sha256(learnt) if learnt else "")
    for profile in profiles:
        wish.check([(variant, under(profile, variant, wish)) for variant in found])  # said before anything is made
    environments.make(sweep, profiles)
    # Once more: the tools of environments that were just made have versions.
    found = variants.variants(sweep.wanted_quants, source, texts.sha256(learnt) if learnt else "")
    made = _made(home, wish, found, learnt, stopped)
    return {profile: [_asked(profile, one, made[one], wish) for one in found] for profile in profiles}


def _fit(home: Home, chosen: Sequence[DeviceProfile], wish: Wish) -> Sequence[DeviceProfile]:
    for profile in chosen:
        if why := devices.unfit(home, profile):
            raise UsageError(why)
        if profile.simulated:
            raise UsageError(f"{profile.name} is simulated: it {wish.does} nothing")
    return chosen


def under(profile: DeviceProfile, variant: Variant, wish: Wish) -> Runtime:
    """The runtime that does it: of those asked for, or the device's own. Raises UsageError where none does."""
    named = [*wish.runtimes] or [name for name in profile.runtimes if name in RUNTIMES] or list(RUNTIMES)
    able = [one for one in map(runtime, named) if wish.kind in one.workloads and variant.format in one.formats]
    if not able:
        others = [name for name in RUNTIMES if wish.kind in runtime(name).workloads]
        raise UsageError(words.nobody(profile.name, variant, wish.does, named, others))
    return able[0]


def _made(
    home: Home, wish: Wish, found: Sequence[Variant], learnt: bytes, stopped: Callable[[], bool]
) -> dict[Variant, Artifact]:
    store, sweep = Artifacts(home), wish.sweep()
    there = {one: artifact for one in found if (artifact := store.find(one.recipe))}
    missing = [one for one in found if one not in there]
    if not missing:
        return there
    _, files = sources.fetch(sweep.model, **variants.sources(sweep))
    files = replace(files, calibration=texts.keep(home, learnt) if learnt else None)
    host = agent(devices.known(home)[devices.LOCAL])
    with host.lease(wish.holder, lambda who: _waits(who, stopped)):
        for one in missing:
            there[one] = make.variant(home, host, one, files, stopped)
    return there


def _waits(who: str, stopped: Callable[[], bool]) -> None:
    if stopped():
        raise Stopped("stopped before anything was made")
    tell("waiting", f"this machine is in use by {who}; waiting for it")


def _asked(profile: DeviceProfile, variant: Variant, artifact: Artifact, wish: Wish) -> Asked:
    by = under(profile, variant, wish)
    settings = {**CONTEXT, **wish.settings(profile), "threads": wish.threads or profile.cores}
    cell = Cell(
        profile=profile,
        variant=variant,
        runtime=by.name,
        build=planning.build_of(profile, by),
        workload=Workload(kind=wish.kind, parameters=parameters(settings)),
    )
    return Asked(cell=cell, artifact=artifact)
