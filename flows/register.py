"""Register a device: reach it, find out what it is, let it rest, run a canary, and write its profile last."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from agents import Agent, AgentError, addresses, agent
from agents.addresses import Address
from flows import baseline, canary, checks, devices, presence, trust
from flows.canary import Question
from flows.checks import NotWell, never, waits
from flows.presence import Found
from flows.station import Station, leased
from flows.steps import Tell, Teller
from flows.stopping import Stopped
from flows.trust import Confirm
from quantfarm import facts, health, profiles, registration
from quantfarm.errors import FarmError, UsageError
from quantfarm.health import By, DeviceState
from quantfarm.nouns import DeviceProfile, Scalar, Variant, parameters
from quantfarm.runtimes import TABLE, runtime
from storage import atomic, fencing
from storage.devices import Registry
from storage.home import Home

PROBE_S = 60.0
#: What a device may say of itself; the rest of its profile is the person's, or found out here.
FACTS = ("platform", "os", "chip", "cores", "memory_mib", "accelerators", "sensors", "missing")
PATH = re.compile(r"/[\x20-\x7e]{1,4000}")
S = DeviceState


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person asks for. `options` are the agent's; `host_key` the fingerprint that is accepted."""

    name: str
    url: str
    tags: tuple[str, ...] = ()
    options: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    host_key: str = ""
    environment: bool = False
    idle_s: float = baseline.WATCH_S
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """`lines`: what the device is ready for, and for what it is not."""

    profile: DeviceProfile
    path: Path
    lines: tuple[str, ...]
    warnings: tuple[str, ...]
    proof: str  # what its canary measured


def check(home: Home, wanted: Wanted) -> Address:
    """Every mistake of a request that can be found without the device. Raises UsageError."""
    address = addresses.parse(wanted.url)
    shipped = profiles.load([profiles.SHIPPED])
    taken = {
        name: "a template that comes with quantfarm" if one.template else "a device that comes with quantfarm"
        for name, one in shipped.items()
    }
    if address.kind != "local":
        taken[devices.LOCAL] = "this machine itself"
    registration.check_name(wanted.name, taken)
    registry = Registry(home)
    state = registry.state(wanted.name)  # none: a profile written by hand, say a template's copy, is registered now
    if profile_path(home, wanted.name).exists() and state and not wanted.again:
        raise UsageError(
            f"'{wanted.name}' is registered already ({state}): "
            f"`quantfarm device check {wanted.name}`, or `--again` to register it anew"
        )
    if health.held(registry.history(wanted.name)):
        raise UsageError(f"'{wanted.name}' is quarantined by a person: `quantfarm device release {wanted.name}` first")
    return address


def profile_path(home: Home, name: str) -> Path:
    return devices.folder(home) / f"{name}.yaml"


def register(
    home: Home, wanted: Wanted, tell: Tell, confirm: Confirm | None = None, stopped: Callable[[], bool] = never
) -> Registered:
    """Raises UsageError for a request that cannot be; AgentError, NotWell and other FarmErrors for a device that
    cannot: its record says why, and no profile is written. Raises Stopped.

    `confirm` is asked about a host key that nobody knows; None: there is nobody to ask.
    """
    address = check(home, wanted)
    told = Teller(wanted.name, tell)
    registry = Registry(home)
    draft = _draft(home, wanted, address)
    with _alone(home, wanted.name), _recorded(registry, wanted.name, f"device add {address}") as begin:
        trust.establish(draft, wanted.host_key, confirm, told)
        asked = canary.question(home, devices.known(home)[devices.LOCAL], told.waiting)
        begin()
        profile, found = _look(draft, asked.variant, wanted.environment, told, stopped)
        profile, proof = _prove(home, profile, wanted.idle_s, asked, told, stopped)
        path = _write(home, profile, address)
        registry.move(wanted.name, S.READY, proof, By.FARM)
    workloads = {name: runtime(name).workloads for name in TABLE}
    return Registered(
        profile=profile,
        path=path,
        lines=tuple(registration.readiness(found.presences, workloads)),
        warnings=tuple(told.warnings),
        proof=proof,
    )


@contextmanager
def _alone(home: Home, name: str) -> Iterator[None]:
    """Two registrations of one name would write over each other. Raises UsageError."""
    fd = os.open(home.folder("devices", name) / "register.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UsageError(f"'{name}' is being registered by another process: wait for it") from error
    finally:
        os.close(fd)


@contextmanager
def _recorded(registry: Registry, name: str, reason: str) -> Iterator[Callable[[], None]]:
    """What is given begins the record; a device that fails then, or was not reached before, has that in it.

    A request that was wrong before it began leaves none.
    """
    begun: list[bool] = []

    def begin() -> None:
        """A registration begins anew: what was before stays as rows."""
        if registry.state(name) not in (None, S.RETIRED):
            registry.move(name, S.RETIRED, "registered again", By.PERSON)
        registry.move(name, S.REGISTERED, reason, By.PERSON)
        begun.append(True)

    try:
        yield begin
    except (Stopped, NotWell):
        raise  # its record is as it must be
    except FarmError as error:
        if isinstance(error, AgentError) and not begun:
            begin()
        if begun:
            registry.failed(name, str(error))
        raise


def _look(
    draft: DeviceProfile, variant: Variant, environment: bool, told: Teller, stopped: Callable[[], bool]
) -> tuple[DeviceProfile, Found]:
    """What the device is, and what can measure on it. Raises AgentError, FarmError where nothing can."""
    told.step("connecting")
    reached = agent(draft)
    try:
        said = dict(reached.probe())
        if "tools" not in said and not draft.simulated:
            said = _ask(reached) | said
        profile = _with_facts(draft, said)
        told.found(describe(profile))
        told.step("looking for runtimes")
        make = presence.environment(reached, told, stopped) if environment else None
        found = presence.find(reached, profile, variant, said.get("tools") or {}, make)
    finally:
        reached.close()
    if not found.runtimes:
        lacking = "; ".join(f"{one.runtime}: {one.lacks}" for one in found.presences)
        raise FarmError(f"{draft.name} was reached, but nothing there can measure ({lacking})")
    options = dict(profile.options) | dict(found.options)
    changed = {"runtimes": found.runtimes, "builds": parameters(found.builds), "options": parameters(options)}
    return replace(profile, **changed), found


def _draft(home: Home, wanted: Wanted, address: Address) -> DeviceProfile:
    """What is known before it is reached. What a person wrote into an earlier profile stays: limits, targets, tags."""
    path = profile_path(home, wanted.name)
    before = profiles.load([path.parent])[wanted.name] if path.exists() else DeviceProfile(name=wanted.name)
    simulated = address.kind == "fake"
    return DeviceProfile(
        name=wanted.name,
        kind=address.kind,
        address=address.address,
        chip="simulated" if simulated else "",
        simulated=simulated,
        tags=tuple(dict.fromkeys([*before.tags, *wanted.tags])),
        limits=before.limits,
        targets=before.targets,
        options=parameters(wanted.options),
    )


def _ask(reached: Agent) -> dict[str, Any]:
    """The facts that an agent's own probe leaves out. Raises AgentError."""
    lines: list[str] = []
    left = reached.run(["sh", "-c", facts.COMMAND], on_line=lines.append, limit_s=PROBE_S)
    if left.code or left.reason:
        why = left.reason or health.one_line(left.stderr) or f"status {left.code}"
        raise AgentError(f"it did not say what it is: {why}", stage="probe", retryable=True)
    return facts.parse(lines)


def _with_facts(draft: DeviceProfile, said: Mapping[str, Any]) -> DeviceProfile:
    """A device may say what it is, and nothing of what it may do. Raises UsageError for what is no fact."""
    given = {key: _plain(said[key]) for key in FACTS if said.get(key)}
    body = {key: value for key, value in asdict(draft).items() if key not in profiles.NESTED}
    profile = profiles.parse(body | given, f"what {draft.name} says of itself")
    python = str(dict(said.get("options") or {}).get("python") or "")
    options = {"python": python, **dict(draft.options)} if PATH.fullmatch(python) else dict(draft.options)
    return replace(profile, limits=draft.limits, options=parameters(options))


def _plain(thing: Any) -> Any:
    """Texts of one printable line, whatever the device said."""
    match thing:
        case str():
            return health.one_line(thing, 300)
        case Mapping():
            return {_plain(key): _plain(value) for key, value in thing.items()}
        case list() | tuple():
            return [_plain(one) for one in thing]
        case _:
            return thing


def describe(profile: DeviceProfile) -> str:
    """`Raspberry Pi 5, 4 cores, 7.9 GiB, Debian 12, no accelerator, sensors: cpufreq, hwmon`."""
    parts = [
        profile.chip or "an unknown chip",
        f"{profile.cores} {'core' if profile.cores == 1 else 'cores'}",
        *([f"{profile.memory_mib / 1024:.1f} GiB"] if profile.memory_mib else []),
        *([profile.os] if profile.os else []),
        *profile.accelerators,
        f"sensors: {', '.join(profile.sensors)}" if profile.sensors else "no sensors",
    ]
    return ", ".join(parts)


def _prove(
    home: Home, profile: DeviceProfile, idle_s: float, asked: Question, told: Teller, stopped: Callable[[], bool]
) -> tuple[DeviceProfile, str]:
    """At rest, then a canary. Raises as checks.proven does, and AgentError."""
    reached = agent(profile)
    try:
        with leased(reached, f"the registration of {profile.name}", waits(told, stopped)) as station:
            _warn_of_twins(home, station, told)
            idle = baseline.measure(station, idle_s, told, stopped)
            proof = checks.proven(home, station, asked, told, stopped)
    finally:
        reached.close()
    return replace(profile, idle=idle), proof


def _warn_of_twins(home: Home, station: Station, told: Teller) -> None:
    """A machine under two names has one lease. (A copied disk carries its lineage with it: a warning, no more.)"""
    own, registry = station.profile, Registry(home)
    known = devices.known(home)
    there = {name for name, one in known.items() if one.address == own.address and one.kind == own.kind != "fake"}
    twins = there | set(fencing.sharing(home, station.lease.token.lineage))
    for name in sorted(twins - {own.name}):
        if registry.state(name) is not S.RETIRED and name in known:
            told.warning(f"it is the same machine as {name}: one lease, so one waits for the other")


def _write(home: Home, profile: DeviceProfile, address: Address) -> Path:
    """The profile, whole or not at all; what is read back is what was meant."""
    heading = (
        f"{profile.name}: registered {datetime.now(UTC):%Y-%m-%d} through {address}.\n"
        "Written by `quantfarm device add`. Limits, targets and tags are yours to change."
    )
    text = registration.profile_text(profile, heading)
    if profiles.parse({"name": profile.name, **yaml.safe_load(text)}, "the new profile") != profile:
        raise FarmError(f"the profile of {profile.name} cannot be written so that it reads the same")
    path = profile_path(home, profile.name)
    home.folder(path.parent.name)
    atomic.write_atomic(path, text.encode())
    return path
