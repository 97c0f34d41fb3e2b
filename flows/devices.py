"""The devices a sweep can name: the profiles that come with the farm, those of the home, and this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agents import machine
from quantfarm import profiles
from quantfarm.nouns import DeviceProfile
from quantfarm.sweeps import Sweep
from storage.home import Home

LOCAL = "local"


def known(home: Home) -> dict[str, DeviceProfile]:
    """All by name; `local` is always there, with the facts of this machine unless its profile gives others."""
    found = profiles.load([profiles.SHIPPED, home.root / "device_profiles"])
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
