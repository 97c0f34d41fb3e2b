"""Host keys: a device that shows one nobody has looked at is not spoken to."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flows.steps import Teller
from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile

#: Kinds whose devices show a key -> the module that fetches, checks and keeps it.
TABLE = {"ssh": "agents.host_keys"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A key to be looked at; `fingerprint` as `ssh-keygen -l` prints it."""

    host: str
    kind: str
    fingerprint: str


#: Asks a person whether a key is the device's.
Confirm = Callable[[Shown], bool]


def establish(profile: DeviceProfile, fingerprint: str, confirm: Confirm | None, told: Teller) -> None:
    """Returns once the device's key is known. `fingerprint` is what a person accepts beforehand; `confirm` None:
    there is nobody to ask. Raises UsageError for a key that nobody accepts, and AgentError as host_keys does."""
    if profile.kind not in TABLE:
        return
    keys: Any = importlib.import_module(TABLE[profile.kind])
    told.step("fetching its host key")
    key = keys.fetch(profile)
    shown = Shown(key.name, key.kind, key.fingerprint)
    if fingerprint and fingerprint != shown.fingerprint:
        raise UsageError(
            f"{shown.host} shows the host key {shown.fingerprint} ({shown.kind}), not {fingerprint}: "
            "somebody may be in between, or it is another device"
        )
    if not fingerprint:
        if keys.accepted(profile, key):
            return
        _ask(profile, shown, confirm)
    keys.remember(key, keys.farms_file(profile))
    told.found(f"its host key {shown.fingerprint} ({shown.kind}) is accepted")


def _ask(profile: DeviceProfile, shown: Shown, confirm: Confirm | None) -> None:
    if confirm is None:
        raise UsageError(
            f"the host key of {shown.host} is not known: {shown.kind} {shown.fingerprint}. If that is its fingerprint "
            f"(there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), add `--host-key {shown.fingerprint}`"
        )
    if not confirm(shown):
        raise UsageError(f"the host key of {shown.host} was not accepted; {profile.name} is not registered")
