"""The devices a sweep can name: the profiles that come with the farm, those of the home, and this machine.

A registered device is given work while it is ready; one without a record (a profile written by hand, this
machine) always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from agents import machine
from quantfarm import health, profiles
from quantfarm.errors import UsageError
from quantfarm.health import By, DeviceState
from quantfarm.nouns import DeviceProfile
from quantfarm.sweeps import Sweep
from storage.devices import Registry
from storage.home import Home
from storage.journal import Damaged

LOCAL = "local"


def folder(home: Home) -> Path:
    """Where the profiles of registered devices lie; not made by a look."""
    return home.root / "device_profiles"


def known(home: Home) -> dict[str, DeviceProfile]:
    """All by name; `local` is always there, with the facts of this machine unless its profile gives others."""
    found = profiles.load([profiles.SHIPPED, folder(home)])
    here = found.get(LOCAL, DeviceProfile(name=LOCAL, tags=("host",)))
    return {**found, LOCAL: _with_facts(here, machine.facts())}


def _with_facts(profile: DeviceProfile, facts: Mapping[str, object]) -> DeviceProfile:
    default = DeviceProfile(name=profile.name)
    unset = {key: value for key, value in facts.items() if getattr(profile, key) == getattr(default, key)}
    return replace(profile, **unset)  # pyright: ignore[reportArgumentType] - keys are DeviceProfile's own


def chosen(home: Home, sweep: Sweep) -> tuple[DeviceProfile, ...]:
    """The devices of a sweep; this machine where it names none. Raises UsageError for unknown names."""
    names = sweep.devices or (() if sweep.tags else (LOCAL,))
    return profiles.choose(known(home), names, sweep.tags)


def unfit(home: Home, profile: DeviceProfile) -> str:
    """Why a device may not be given work now; empty when it may."""
    try:
        row = Registry(home).last(profile.name)
    except Damaged as error:
        return f"waits: the state of {profile.name} is not known: {error}"
    if row is None or health.schedulable(row.to):
        return ""
    return f"waits: {profile.name} is {row.to} ({row.reason}); its cells run once it is ready"


def ready(home: Home, chosen: Iterable[DeviceProfile]) -> tuple[DeviceProfile, ...]:
    """Those that may be given work now."""
    return tuple(profile for profile in chosen if not unfit(home, profile))


def quarantine(home: Home, name: str, reason: str) -> None:
    """A person takes a device out of use. Raises UsageError for an unknown one, NotAllowed."""
    registry = Registry(home)
    if registry.state(name) in (None, DeviceState.RETIRED):
        _profile(home, name)
        registry.move(name, DeviceState.REGISTERED, "known by its profile", By.PERSON)
    registry.move(name, DeviceState.QUARANTINED, reason, By.PERSON)


def release(home: Home, name: str, reason: str) -> None:
    """A person ends a quarantine: what follows is a check. Raises UsageError for one that is in none."""
    _profile(home, name)
    state = Registry(home).state(name)
    if state is not DeviceState.QUARANTINED:
        raise UsageError(f"'{name}' is {state or 'not registered'}, not quarantined: there is nothing to release")
    Registry(home).move(name, DeviceState.REGISTERED, reason, By.PERSON)


def retire(home: Home, name: str, reason: str) -> Path | None:
    """Takes a device away; its results stay. Where its profile lies now, None where it had none.

    Raises UsageError for an unknown device and for one that was never registered here.
    """
    registry, path = Registry(home), folder(home) / f"{name}.yaml"
    recorded = registry.state(name) not in (None, DeviceState.RETIRED)
    if not recorded and not path.exists():
        _profile(home, name)
        raise UsageError(f"'{name}' was not registered here: there is nothing to remove")
    if recorded:
        registry.move(name, DeviceState.RETIRED, reason, By.PERSON)
    if not path.exists():
        return None
    aside = home.folder(path.parent.name, "retired") / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}.yaml"
    path.replace(aside)
    return aside


def _profile(home: Home, name: str) -> DeviceProfile:
    """Raises UsageError for an unknown name and for a template."""
    return profiles.choose(known(home), [name])[0]
