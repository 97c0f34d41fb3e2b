"""Agents: how a device is reached. Four verbs, nothing about language models. One file and one line here each.

AgentError                 the device could not be asked; retryable or not, with the stage
└── LeaseHeld              somebody else measures on it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from quantfarm import tables
from quantfarm.errors import FarmError
from quantfarm.nouns import DeviceProfile

TABLE: dict[str, str] = {
    "local": "agents.local:LocalAgent",
    "fake": "agents.fake:FakeAgent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a command ended. `code` is negative for a signal; `reason` says why we ended it, if we did."""

    code: int
    reason: str = ""
    stderr: str = ""  # the last lines


class AgentError(FarmError):
    """The device could not do what was asked of it, for a reason of its own or of the way to it."""

    def __init__(self, message: str, *, stage: str, retryable: bool) -> None:
        super().__init__(message)
        self.stage = stage
        self.retryable = retryable


class Agent(Protocol):
    profile: DeviceProfile

    def run(
        self,
        command: Sequence[str],
        *,
        on_line: Callable[[str], None],
        limit_s: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Exit:
        """Run to the end, giving each line of stdout as it comes; ended after `limit_s` or once `stopped()`."""
        ...

    def push(self, file: Path, sha256: str) -> str:
        """Make a file present on the device (sent only when it is not there); its path there."""
        ...

    def pull(self, path: str, to: Path) -> None:
        """Bring a file of the device here."""
        ...

    def probe(self) -> Mapping[str, Any]:
        """Facts about the device: fields of DeviceProfile."""
        ...

    def lease(self, holder: str, on_wait: Callable[[str], None]) -> AbstractContextManager[None]:
        """Exclusive use of the device: waits, telling who holds it; freed when the holder dies."""
        ...


def agent(profile: DeviceProfile) -> Agent:
    """The agent of a device. Raises UsageError for an unknown kind."""
    return tables.load(TABLE, profile.kind, "agent kind")(profile)
