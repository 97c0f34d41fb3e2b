"""A shell here as if it were on a device: which shell it is, and which programs its device has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agents import Progress
from agents.shell import ProcessChannel, ShellAgent
from quantfarm.nouns import DeviceProfile, Scalar, parameters

#: Debian's sh, a Mac's (of version 3.2, but it is bash), Android's, and that of small Linux devices.
SHELLS = ("dash", "bash", "mksh", "busybox")
#: What any device has. `setsid` and what locks are added or left out by the tests.
EVERYWHERE = (
    "cat chmod cut date df echo head id kill ls mkdir mv openssl printf ps rm sha256sum sleep stat touch true wc"
)
LOCKERS = ("flock", "perl", "python3")


def program(name: str) -> str:
    """Where it is on this machine; in CI it must be there."""
    found = shutil.which(name) or ("/usr/bin/python3" if name == "python3" else None)
    if not found:
        message = f"no {name} here (Debian has a package of that name)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return str(found)


def toolbox(folder: Path, shell: str = "dash", *, has: str = "setsid flock") -> Path:
    """A folder of programs, to be all of a PATH."""
    folder.mkdir(parents=True)
    for name in [*EVERYWHERE.split(), *has.split()]:
        # pyenv's python3 is a script that looks for others: take what it stands for.
        (folder / name).symlink_to("/usr/bin/python3" if name == "python3" else program(name))
    (folder / "sh").symlink_to(program(shell))
    return folder


class Here:
    """A Transport to a shell on this machine. `before`: what its profile prints when it starts."""

    def __init__(self, environment: Mapping[str, str], before: str = "") -> None:
        self.environment, self.before = dict(environment), before
        self.sent: list[tuple[int, int]] = []
        self.channels: list[ProcessChannel] = []

    def start(self, command: str) -> ProcessChannel:
        sh = f"{self.environment['PATH']}/sh"
        self.channels.append(ProcessChannel([sh, "-c", self.before + command], self.environment))
        return self.channels[-1]

    def send(self, file: Path, to: str, offset: int, on_progress: Progress) -> None:
        data = file.read_bytes()
        with Path(to).open("r+b" if offset else "wb") as there:
            there.seek(offset)
            there.write(data[offset:])
        self.sent.append((offset, len(data)))
        on_progress(len(data), len(data))

    def fetch(self, path: str, to: Path) -> None:
        shutil.copyfile(path, to)

    def facts(self) -> Mapping[str, Any]:
        return {}

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        pass


class HereAgent(ShellAgent):
    """An agent over Here; its `home` holds all that its device has."""

    def __init__(self, home: Path, tools: Path, before: str = "", **options: Scalar) -> None:
        given = {"folder": f"{home}/files", "beat_s": 0.3, "silence_s": 2, **options}
        super().__init__(DeviceProfile(name="shell-here", options=parameters(given)))
        self.leases = home / "leases"
        self.here = Here({"PATH": str(tools), "HOME": str(home), "QUANTFARM_LEASES": str(self.leases)}, before)

    def connect(self) -> Here:
        return self.here
