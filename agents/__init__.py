"""Agents: how a device is reached. Four verbs, nothing about language models. One file and one line here each.

AgentError            the device could not do what was asked; retryable or not, with the stage
├── Unreachable       there is no way to it now: refused, no route, no answer in time
├── Vanished          it, or the way to it, went away while it worked
└── Refused           it must not be used: a changed host key, a wrong login, another version
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from quantfarm import tables
from quantfarm.errors import FarmError
from quantfarm.nouns import DeviceProfile, Token

TABLE: dict[str, str] = {
    "local": "agents.local:LocalAgent",
    "ssh": "agents.ssh:SshAgent",
    "adb": "agents.adb:AdbAgent",
    "ray": "agents.ray_node:RayAgent",
    "fake": "agents.fake:FakeAgent",
}


#: Told of bytes done and of all bytes.
Progress = Callable[[int, int], None]


def silent(_done: int, _of: int) -> None:
    """For who does not watch."""


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


class Unreachable(AgentError):
    """No way to the device now; trying again may help."""

    def __init__(self, message: str, *, stage: str = "connect") -> None:
        super().__init__(message, stage=stage, retryable=True)


class Vanished(AgentError):
    """The device, or the way to it, went away in the middle; trying again may help."""

    def __init__(self, message: str, *, stage: str = "run") -> None:
        super().__init__(message, stage=stage, retryable=True)


class Refused(AgentError):
    """The device must not be used as things are: somebody has to look."""

    def __init__(self, message: str, *, stage: str = "connect") -> None:
        super().__init__(message, stage=stage, retryable=False)


class Lease(Protocol):
    """Exclusive use of a device while it is held: the lock itself lies on the device."""

    @property
    def token(self) -> Token:
        """Which holding this is."""
        ...

    def held(self) -> bool:
        """Whether it is still ours, as far as can be known now; cheap."""
        ...


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
        """Run to the end, giving each line of stdout as it comes; ended after `limit_s` or once `stopped()`.

        Several may run at once (a run and the sensors beside it). The command's stdin stays open for as
        long as it may run and closes when it must end. Raises AgentError: Vanished where the run's own
        end was not seen, whatever an exit status said.
        """
        ...

    def push(self, file: Path, sha256: str, on_progress: Progress = silent) -> str:
        """Make a file present on the device (sent only when it is not there); its path there.

        `sha256` may be empty: then it is computed here. What is executable here is so there. A push that
        was cut off is gone on with; what arrived is checked by its digest on the device. Raises AgentError
        (stage "push").
        """
        ...

    def pull(self, path: str, to: Path) -> None:
        """Bring a file of the device here: whole or not at all. Raises AgentError."""
        ...

    def probe(self) -> Mapping[str, Any]:
        """Facts about the device: fields of DeviceProfile. Raises AgentError."""
        ...

    def lease(self, holder: str, on_wait: Callable[[str], None]) -> AbstractContextManager[Lease]:
        """Exclusive use of the device: waits, telling who holds it; freed when the holder dies.

        `on_wait` is called again about each second while it waits, and may raise to give up.
        """
        ...

    def close(self) -> None:
        """Lets go of every connection; the agent may be used again."""
        ...


@runtime_checkable
class Forwards(Protocol):
    """An agent by which one can talk to what listens on the device's loopback."""

    def forward(self, port: int, local: int = 0) -> AbstractContextManager[int]:
        """A port of the device as a port of this machine's loopback: `local`, or a free one for 0.

        Raises AgentError (stage "forward"), also where `local` is taken."""
        ...


def agent(profile: DeviceProfile) -> Agent:
    """The agent of a device. Raises UsageError for an unknown kind."""
    return tables.load(TABLE, profile.kind, "agent kind")(profile)
