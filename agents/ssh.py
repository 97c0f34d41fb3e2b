"""Devices that are reached over SSH: nothing is installed there but a shell.

A profile's address is `user@host:port` (agents/ssh_config.py says what of the user's configuration counts).
Options: `connect_s` and `tries` of a connection, `known_hosts` (the farm's file of host keys), `ssh_config`,
and those of agents/shell.py (`folder`, `beat_s`, `silence_s`). No password is asked for, kept or sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from agents import Unreachable, ssh_config, ssh_login
from agents.shell import ShellAgent
from agents.ssh_transport import SshTransport

#: Seconds to wait before the second try, the third, and each after.
BACK_OFF_S = (1.0, 2.0, 4.0)
TRIES = 3


class SshAgent(ShellAgent):
    def connect(self) -> SshTransport:
        target = ssh_config.target(self.profile)
        tries = int(dict(self.profile.options).get("tries") or TRIES)
        for attempt in range(1, tries + 1):
            try:
                return SshTransport(lambda stack: ssh_login.login(target, stack), target.device)
            except Unreachable as error:
                if attempt == tries:
                    raise Unreachable(f"{error} ({tries} tries)") from error
                time.sleep(BACK_OFF_S[min(attempt, len(BACK_OFF_S)) - 1])
        raise AssertionError("unreachable")

    @contextmanager
    def forward(self, port: int, local: int = 0) -> Iterator[int]:
        way = self.transport()
        assert isinstance(way, SshTransport)
        with way.forward(port, local) as here:
            yield here
