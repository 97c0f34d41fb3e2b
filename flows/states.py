"""A device's state as a lane sees it: busy while it is leased, unhealthy when it stayed away."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from quantfarm.nouns import DeviceProfile
from storage.devices import Registry
from storage.home import Home


@dataclass(frozen=True, slots=True)
class States:
    """A device that was never registered has no state, and gets none here."""

    home: Home
    profile: DeviceProfile

    def busy(self, holder: str) -> AbstractContextManager[None]:
        """Raises NotAllowed for a device that somebody has taken out of use meanwhile."""
        return Registry(self.home).busy(self.profile.name, holder)

    def lost(self, reason: str) -> None:
        """It stayed away, or must not be used: no work for it until a check finds it well."""
        Registry(self.home).failed(self.profile.name, reason)
