"""OpenSSH's own server on a loopback port, with keys and files of its own: a device that SSH reaches.

    with sshd(tmp_path) as device:
        agents.agent(device.profile).run(...)

Nothing of the user's own SSH is read or written: the client's configuration file is of the test too.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from quantfarm.nouns import DeviceProfile, Scalar, parameters

#: Beats and silence in seconds that make a test short; a farm's own are longer (agents/shell.py).
SHORT: Mapping[str, Scalar] = {"beat_s": 0.5, "silence_s": 3}


@dataclass(frozen=True)
class Server:
    """A running server: `folder` holds all that belongs to it, `leases` the leases of its machine."""

    folder: Path
    host: str
    port: int
    profile: DeviceProfile
    process: subprocess.Popen[bytes]

    @property
    def leases(self) -> Path:
        return self.folder / "leases"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def files(self) -> Path:
        """Where pushed files lie, as the server sees it."""
        return self.folder / "files"

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def with_options(self, **options: Scalar) -> DeviceProfile:
        return replace(self.profile, options=parameters({**dict(self.profile.options), **options}))

    def sessions(self) -> list[psutil.Process]:
        """All processes that the server started and their children, with those that lost their parent."""
        mine = f"QUANTFARM_LEASES={self.leases}"
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if (
                    mine in f"QUANTFARM_LEASES={process.environ().get('QUANTFARM_LEASES')}"
                    and process.pid != os.getpid()
                ):
                    found.append(process)
        return found

    def drop(self) -> None:
        """Cuts every connection at once, as a server does that loses its power; the next one is taken again."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "sshd" in child.name():
                    child.kill()


def programs() -> tuple[str, str]:
    """sshd and ssh-keygen; in CI they must be there."""
    path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    found = shutil.which("sshd", path=path), shutil.which("ssh-keygen")
    if not all(found):
        message = "no OpenSSH server here (Debian: openssh-server)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return str(found[0]), str(found[1])


def key(path: Path, kind: str = "ed25519") -> Path:
    """A new pair of keys at path and path.pub."""
    subprocess.run([programs()[1], "-q", "-t", kind, "-N", "", "-C", "test", "-f", str(path)], check=True)
    return path


@contextmanager
def sshd(
    tmp_path: Path, name: str = "ssh-host", *, host: str = "127.0.0.1", enter: tuple[str, ...] = (), lines: str = ""
) -> Iterator[Server]:
    """A server, and a client's side that may use it. `enter`: command prefix into a network namespace of its own.

    `lines`: more lines for sshd_config.
    """
    program, _ = programs()
    folder = tmp_path / name
    folder.mkdir(parents=True)
    for pair in ("host_key", "user_key"):
        key(folder / pair)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    port = free_port() if not enter else 22022
    (folder / "sshd_config").write_text(
        f"""{lines}
        Port {port}
        ListenAddress {host}
        HostKey {folder}/host_key
        PidFile {folder}/pid
        AuthorizedKeysFile {folder}/authorized_keys
        AuthenticationMethods publickey
        PermitRootLogin yes
        StrictModes no
        UsePAM no
        MaxSessions 50
        MaxStartups 100
        Subsystem sftp internal-sftp
        SetEnv QUANTFARM_LEASES={folder}/leases
        """.replace("\n        ", "\n")
    )
    (folder / "ssh_config").write_text(f"IdentityFile {folder}/user_key\nIdentitiesOnly yes\n")
    (folder / "known_hosts").write_text(f"[{host}]:{port} {(folder / 'host_key.pub').read_text()}")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # it will not start without, even where it does not use it
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*enter, program, "-D", "-e", "-f", str(folder / "sshd_config")], stdin=subprocess.DEVNULL, stderr=log
        )
    options = {
        "ssh_config": f"{folder}/ssh_config",
        "known_hosts": f"{folder}/known_hosts",
        "folder": f"{folder}/files",
    }
    profile = DeviceProfile(
        name=name, kind="ssh", address=f"{getpass.getuser()}@{host}:{port}", options=parameters({**options, **SHORT})
    )
    server = Server(folder, host, port, profile, process)
    try:
        _await(server, enter)
        yield server
    finally:
        server.drop()
        process.terminate()
        process.wait(10)
        end(server)


def _await(server: Server, enter: tuple[str, ...]) -> None:
    for _ in range(200):
        assert server.process.poll() is None, server.log()
        if enter and "Server listening" in server.log():
            return
        with contextlib.suppress(OSError), socket.create_connection((server.host, server.port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"the SSH server did not start: {server.log()}")


def end(server: Server) -> None:
    """What a test left running on the device."""
    for process in server.sessions():
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
