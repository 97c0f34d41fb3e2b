"""Where an SSH device is and how the user's own configuration says to reach it.

Read: HostName, Port, User, IdentityFile, IdentityAgent, IdentitiesOnly, ProxyJump, ProxyCommand,
ConnectTimeout, UserKnownHostsFile; Include where it is not inside a Host or Match block. Only the user's
file is read (~/.ssh/config, or the option `ssh_config` of a profile: a path, or "none").
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import paramiko

from agents import Refused, host_keys
from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile

ADDRESS = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@\s/]+)@)?(?:\[(?P<v6>[0-9A-Fa-f:.%\w-]+)\]|(?P<host>[\w.%-]+))(?::(?P<port>\d{1,5}))?/?"
)
CONNECT_S = 10.0
KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
DEPTH = 8


@dataclass(frozen=True, kw_only=True)
class Target:
    """One host to log in at, and what is between."""

    device: str  # for messages
    host: str
    port: int
    user: str
    identities: tuple[Path, ...] = ()
    agent: str | None = None  # the agent's socket; None: there is none
    only_identities: bool = False
    known_hosts: tuple[Path, ...] = ()
    connect_s: float = CONNECT_S
    command: str = ""  # ProxyCommand
    jumps: tuple[Target, ...] = ()  # ProxyJump: the first is reached from here

    @property
    def name(self) -> str:
        """As known_hosts names it."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"


def target(profile: DeviceProfile) -> Target:
    """Raises UsageError for an address that is none, Refused for a configuration that cannot be followed."""
    options = dict(profile.options)
    config = _read(str(options.get("ssh_config") or "~/.ssh/config"))
    found = _target(profile.address, profile.name, config, host_keys.farms_file(profile))
    limit = options.get("connect_s")
    return replace(found, connect_s=float(limit)) if limit else found


def _target(address: str, device: str, config: str, farm: Path | None, depth: int = 0) -> Target:
    match = ADDRESS.fullmatch(address)
    alias = match and (match["v6"] or match["host"])
    if not match or not alias or alias.startswith("-") or (match["user"] or "").startswith("-"):
        raise UsageError(
            f"the address '{address}' of {device} is none that SSH knows: give user@host:port "
            "(user and port if they are needed; an IPv6 address in brackets)"
        )
    given = [f"{key} {value}" for key, value in (("Port", match["port"]), ("User", match["user"])) if value]
    said = _lookup("\n".join([f"Host {alias}", *given, "Host *", config]), alias, device)
    port = int(said.get("port", 22))
    if not 0 < port < 65536:
        raise UsageError(f"the address '{address}' of {device} has no port between 1 and 65535")
    return Target(
        device=device,
        host=said.get("hostname", alias),
        port=port,
        user=said.get("user") or getpass.getuser(),
        identities=_identities(said),
        agent=_agent(said.get("identityagent", "SSH_AUTH_SOCK")),
        only_identities=said.get("identitiesonly", "no").lower() == "yes",
        known_hosts=_known_hosts(said, farm),
        connect_s=float(said.get("connecttimeout", CONNECT_S)),
        command="" if said.get("proxycommand", "none").lower() == "none" else said["proxycommand"],
        jumps=_jumps(said.get("proxyjump", "none"), device, config, farm, depth),
    )


def _jumps(said: str, device: str, config: str, farm: Path | None, depth: int) -> tuple[Target, ...]:
    if said.lower() == "none":
        return ()
    if depth > DEPTH:
        raise Refused(f"the ProxyJump of {device} leads back to itself")
    return tuple(_target(jump.strip(), device, config, farm, depth + 1) for jump in said.split(","))


def _lookup(config: str, alias: str, device: str) -> Mapping[str, str]:
    """What is said for a host; what the address itself says stands first, so that %p and %r are of it too."""
    try:
        return paramiko.SSHConfig.from_text(config).lookup(alias)
    except Exception as error:  # of many kinds: Match exec, canonical names, what it cannot parse
        raise Refused(f"your SSH configuration cannot be followed for {device} ({alias}): {error}") from error


def _identities(said: Mapping[str, object]) -> tuple[Path, ...]:
    named = said.get("identityfile")
    if isinstance(named, list):
        return tuple(Path(str(path)).expanduser() for path in named if str(path).lower() != "none")  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]
    return tuple(Path("~/.ssh").expanduser() / name for name in KEYS)


def _agent(said: str) -> str | None:
    if said == "none":
        return None
    if said == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK")
    if said.startswith("$"):
        return os.environ.get(said.strip("${}"))
    return str(Path(said.strip('"')).expanduser())


def _known_hosts(said: Mapping[str, str], farm: Path | None) -> tuple[Path, ...]:
    users = shlex.split(said.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"))
    named = [path for path in users if path.lower() != "none"]
    paths = [Path(path).expanduser() for path in [*named, "/etc/ssh/ssh_known_hosts"]]
    return (*([farm] if farm else []), *paths)


def _read(path: str) -> str:
    if path == "none":
        return ""
    file = Path(path).expanduser()
    try:
        return _text(file) if file.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"your SSH configuration {file} cannot be read: {error}") from error


def _text(file: Path, depth: int = 0) -> str:
    """The file with what it includes in place (paramiko would pass over Include without a word)."""
    if depth > DEPTH:
        raise Refused(f"your SSH configuration includes {file} within itself")
    lines: list[str] = []
    block = ""
    for line in file.read_text().splitlines():
        word = re.split(r"[\s=]", line.strip(), maxsplit=1)[0].lower()
        block = line.strip() if word in ("host", "match") else block
        if word != "include":
            lines.append(line)
        elif block and block.lower() != "host *":
            raise Refused(
                f"{file} says '{line.strip()}' inside '{block}': an Include is followed only outside of such blocks. "
                "Move it to the top, or set the device's option `ssh_config` to another file or to `none`"
            )
        else:
            lines += [_text(found, depth + 1) for found in _included(line)]
            lines.append("Host *")  # what the included file began ends with it
    return "\n".join(lines) + "\n"


def _included(line: str) -> list[Path]:
    found: list[Path] = []
    for pattern in shlex.split(re.split(r"[\s=]+", line.strip(), maxsplit=1)[1]):
        path = Path(pattern).expanduser()
        path = path if path.is_absolute() else Path("~/.ssh").expanduser() / path
        found += sorted(one for one in path.parent.glob(path.name) if one.is_file())
    return found
