"""A device's state as a lane sees it: busy while it is leased, unhealthy when it stayed away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from quantfarm.nouns import DeviceProfile
from storage.home import Home


@dataclass(frozen=True, slots=True)
class States:
    home: Home
    profile: DeviceProfile

    @contextmanager
    def busy(self, holder: str) -> Iterator[None]:
        del holder
        yield

    def lost(self, reason: str) -> None:
        del reason
