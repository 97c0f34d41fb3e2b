"""How fast a file gets to a device over SSH: our push ÷ `scp`, in ABBA pairs; goal: at least 0.9 of its speed.

    python benchmarks/push_vs_scp.py [--mib 512] [--pairs 10] [--json FILE]

The tests' own sshd on the loopback, so no cable: the most that either way can do. Both log in anew each time, with
the ciphers each of them prefers. `sent` ends when the last byte is confirmed. `sent_and_checked` has the sha256
computed there too, as each push of ours does; beside scp that is `ssh … sha256sum`. What is there already must
not be sent again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import abba
from pushing import MIB, known, present_s, rates

from agents import Progress
from agents.shell_files import digest_of
from agents.ssh import SshAgent
from agents.ssh_transport import SshTransport
from tests.ssh.server import Server, sshd

GOALS = {"sent_mib_s": abba.at_least(0.9), "sent_and_checked_mib_s": abba.at_least(0.9)}


class Sent:
    """When the last byte of a push was confirmed."""

    at = 0.0


class TimedAgent(SshAgent):
    def connect(self) -> SshTransport:
        transport = super().connect()
        send = transport.send

        def timed(file: Path, to: str, offset: int, on_progress: Progress) -> None:
            send(file, to, offset, on_progress)
            Sent.at = time.perf_counter()

        transport.send = timed
        return transport


def timed(command: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return time.perf_counter() - began


def by_scp(server: Server, file: Path) -> abba.Figures:
    place = fresh(server) / "file"
    user, _, _ = server.profile.address.partition("@")
    options = ["-F", f"{server.folder}/ssh_config", "-o", f"UserKnownHostsFile={server.known_hosts}"]
    sent = timed(["scp", "-q", *options, "-P", str(server.port), str(file), f"{user}@{server.host}:{place}"])
    port = ["-p", str(server.port)]
    return rates(file, sent, sent + timed(["ssh", *options, *port, f"{user}@{server.host}", f"sha256sum {place}"]))


def by_us(server: Server, agent: TimedAgent, file: Path) -> abba.Figures:
    fresh(server)
    agent.close()
    began = time.perf_counter()
    agent.push(file, known(file))
    return rates(file, Sent.at - began, time.perf_counter() - began)


def fresh(server: Server) -> Path:
    """The folder on the device, empty."""
    shutil.rmtree(server.files, ignore_errors=True)
    server.files.mkdir()
    return server.files


def main() -> None:
    parser = abba.arguments("our push ÷ scp")
    parser.add_argument("--mib", type=int, default=512)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sshd(Path(folder)) as server:
        file = Path(folder) / "file.gguf"
        with file.open("wb") as made:
            for _ in range(given.mib):
                made.write(os.urandom(MIB))
        file.with_suffix(".sha256").write_text(digest_of(file))
        agent = TimedAgent(server.profile)
        try:
            runs = abba.alternate(lambda: by_scp(server, file), lambda: by_us(server, agent, file), given.pairs)
            again = present_s(agent, file)
        finally:
            agent.close()
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr.strip()
    settings = {"mib": given.mib, "present_s": again, "ssh": version}
    abba.report("push over SSH", ("scp", "ours"), runs, GOALS, settings, given.json)
    print(f"a push of what is there: {again:.3f} s, nothing sent")


if __name__ == "__main__":
    main()
