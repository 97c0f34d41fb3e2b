"""The same device with another build of a runtime, in an environment of its own beside what the device has.

So old and new can be measured in turns. Made once for each build, by the device itself where it is not this
machine; there whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from agents import Agent, AgentError, Lease, agent
from flows.build_time import Tell, Took, Work
from flows.presence import FOLDER
from flows.stopping import Stopped
from quantfarm import builds, planning, registration, runtimes
from quantfarm.errors import FarmError
from quantfarm.nouns import Cell, DeviceProfile, Recipe, Variant, Workload, digest, parameters
from quantfarm.runtimes import Runtime
from quantfarm.toolchain.news import Step
from quantfarm.toolchain.process import NO_COMPILER, NO_NETWORK
from storage.home import Home

#: What ails every build on a device and not this one alone.
ALL_BUILDS = (NO_COMPILER, NO_NETWORK, "make room")


class CannotHave(FarmError):
    """The device cannot have this build. `others`: another build may do nevertheless (this one is not on the index,
    or does not compile); not so where there is no network, no compiler, no Python."""

    def __init__(self, message: str, *, others: bool) -> None:
        super().__init__(message)
        self.others = others


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`requirements`: the build, and what else the runtime's programs declare; `python`: the oldest that will do."""

    runtime: str
    build: str
    requirements: tuple[str, ...]
    python: str


def never() -> bool:
    """Nobody asks to stop."""
    return False


def with_build(
    home: Home,
    profile: DeviceProfile,
    runtime: str,
    build: str,
    tell: Tell,
    stopped: Callable[[], bool] = never,
    *,
    own: bool = True,
) -> DeviceProfile:
    """The device with `build` ("llama-cpp-python 0.3.35") of a runtime: its `builds` and the option `python` name it.

    `own`: where the device itself has this build, that one is taken; else one is made in any case.
    Takes the device's lease while something must be made, so that nothing is measured beside a compiler: the caller
    holds none. Raises CannotHave, Stopped, AgentError (the device is away: later it may be had), UsageError for an
    unknown runtime.
    """
    under = runtimes.runtime(runtime)
    there = replace(profile, builds=parameters({**dict(profile.builds), runtime: build}))
    if own and planning.build_of(profile, under) == build:
        return there
    asked = wanted(profile, under, build)
    python = _made(home, profile, asked, tell, stopped)
    return replace(there, options=parameters({**dict(profile.options), "python": python}))


def wanted(profile: DeviceProfile, under: Runtime, build: str) -> Wanted:
    """What an environment of this build consists of. Raises CannotHave where no build of it can be installed."""
    if profile.simulated:
        raise CannotHave(f"{profile.name} is simulated: there is nothing to install a build on", others=False)
    needs = _needs(profile, under)
    named = builds.parse(build)
    if not named or named.package not in needs.packages:
        why = "its programs come with quantfarm or are built by `quantfarm toolchain build`"
        raise CannotHave(f"'{build}' of {under.name} is no package that can be installed: {why}", others=False)
    others = [f"{name}>={least}" for name, least in needs.packages.items() if name != named.package]
    requirements = (f"{named.package}=={named.version}", *others)
    return Wanted(runtime=under.name, build=build, requirements=requirements, python=needs.python)


def _needs(profile: DeviceProfile, under: Runtime) -> registration.Needs:
    """What the runtime's own Python programs declare; nothing where it has none."""
    try:
        files = under.files(_any_cell(profile, under))
    except FarmError as error:
        raise CannotHave(str(error), others=False) from error
    declared = [registration.needs(path) for path in files.values() if path.suffix == ".py"]
    packages = {name: least for one in declared for name, least in one.packages.items()}
    oldest = max((one.python for one in declared), key=lambda text: [int(n) for n in text.split(".") if n], default="")
    return registration.Needs(python=oldest, packages=packages)


def _any_cell(profile: DeviceProfile, under: Runtime) -> Cell:
    """One that is never measured: a runtime's programs are asked for by cell."""
    variant = Variant(model="", format="", quant="", recipe=Recipe(source="", quantizer="as_is", quant=""))
    workload = Workload(kind=min(under.workloads))
    return Cell(profile=profile, variant=variant, runtime=under.name, build="", workload=workload)


def _made(home: Home, profile: DeviceProfile, asked: Wanted, tell: Tell, stopped: Callable[[], bool]) -> str:
    """The path of the environment's Python on the device."""
    reached = agent(profile)
    took = Took.of(home, profile.name)
    try:
        with reached.lease(f"making {asked.build}", _waiting(profile.name, tell, stopped)) as lease:
            work = Work(f"{profile.name}: installing {asked.build}", took.about_s(asked.runtime), tell)
            with work.told():
                make = _here if profile.kind == "local" else _there
                python = make(reached, lease, asked, work, stopped)
    except AgentError as error:
        if stopped():
            raise Stopped(f"stopped while {asked.build} was made") from error
        if error.retryable:
            raise
        raise CannotHave(str(error), others=error.stage == "environment" and _others(str(error))) from error
    finally:
        reached.close()
    if work.seconds:
        took.remember(asked.runtime, work.seconds)
    return python


def _waiting(device: str, tell: Tell, stopped: Callable[[], bool]) -> Callable[[str], None]:
    said: set[str] = set()

    def on_wait(who: str) -> None:
        if stopped():
            raise Stopped("stopped: what was finished is kept")
        if who not in said:
            said.add(who)
            tell(f"{device} is in use by {who}; waiting for it")

    return on_wait


def _here(reached: Agent, lease: Lease, asked: Wanted, work: Work, stopped: Callable[[], bool]) -> str:
    from quantfarm.toolchain import environments  # noqa: PLC0415 - only where a build is made

    del reached

    def note(step: Step) -> None:
        if step.what == "wait":
            work.tell(step.note)
        else:
            work.begins()

    keep = (fd,) if (fd := getattr(lease, "fd", None)) is not None else ()
    try:
        folder = environments.environment(_name(asked), asked.requirements, note, keep_fds=keep, stopped=stopped)
    except FarmError as error:
        if stopped():
            raise Stopped(f"stopped while {asked.build} was made") from error
        raise CannotHave(f"{asked.build} cannot be had: {error}", others=_others(str(error))) from error
    return str(environments.python_of(folder))


def _name(asked: Wanted) -> str:
    """Of the environment: what is compiled otherwise is another one."""
    how = os.environ.get("CMAKE_ARGS", "")
    return f"{asked.runtime}-{digest(how)[:6]}" if how else asked.runtime


def _there(reached: Agent, lease: Lease, asked: Wanted, work: Work, stopped: Callable[[], bool]) -> str:
    from agents import environments  # noqa: PLC0415 - only where a build is made

    del lease
    return environments.environment(
        reached,
        asked.requirements,
        folder=str(getattr(reached, "folder", FOLDER)),
        python=str(dict(reached.profile.options).get("python") or ""),
        oldest=asked.python or environments.OLDEST,
        on_line=lambda _: work.begins(),
        stopped=stopped,
    )


def _others(why: str) -> bool:
    """Whether what went wrong is a matter of this one build."""
    return not any(said in why for said in (*ALL_BUILDS, "install one, name it in the device's option"))
