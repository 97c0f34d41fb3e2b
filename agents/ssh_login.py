"""From an address to a login: reach the host, know it by its key, be known by ours."""

from __future__ import annotations

import contextlib
import logging
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
from paramiko.agent import AgentSSH
from paramiko.pkey import UnknownKeyType
from paramiko.ssh_exception import IncompatiblePeer

from agents import Refused, Unreachable, host_keys
from agents.host_keys import HostKey
from agents.ssh_config import Target

#: paramiko tells a log what it also raises.
LOG = logging.getLogger("quantfarm.ssh")
LOG.addHandler(logging.NullHandler())
LOG.propagate = False
#: What it cannot read as a key, by what it raises for it.
NO_KEY = (paramiko.SSHException, UnknownKeyType, OSError, ValueError, TypeError)


def login(target: Target, stack: ExitStack) -> paramiko.Transport:
    """A connection in use by our user; what lies between is closed with `stack`. Raises Unreachable, Refused."""
    transport, key = stack.enter_context(greeted(target, stack))
    host_keys.check(key, target.known_hosts, target.device)
    try:
        _authenticate(transport, target)
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise _translated(target, error) from error
    return transport


@contextmanager
def greeted(target: Target, outer: ExitStack | None = None) -> Iterator[tuple[paramiko.Transport, HostKey]]:
    """A connection on which nothing was said but hello, and the key that the host showed. Closed at the end."""
    with ExitStack() as stack:
        try:
            transport = _hello(target, _way(target, outer or stack))
            stack.callback(transport.close)
            transport.start_client(timeout=target.connect_s)
            key = host_keys.of(target.name, transport.get_remote_server_key())
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise _translated(target, error) from error
        yield transport, key


def _translated(target: Target, error: Exception) -> Unreachable | Refused:
    where = f"{target.device} ({target.user}@{target.host}, port {target.port})"
    if isinstance(error, socket.gaierror):
        return Unreachable(f"{where}: there is no host of that name: {error.strerror}")
    # The last two are what paramiko says when its own limit was reached.
    silent = ("timeout", "no existing session", "protocol banner")
    if isinstance(error, TimeoutError) or any(words in str(error).lower() for words in silent):
        return Unreachable(f"{where} did not answer as SSH does within {target.connect_s:g} s")
    if isinstance(error, IncompatiblePeer):
        return Refused(f"{where} and quantfarm have no way of encrypting in common: {error}")
    if isinstance(error, OSError) and error.strerror:
        return Unreachable(f"{where} cannot be reached: {error.strerror}")
    return Unreachable(f"{where} did not speak SSH to the end: {error or 'it closed the connection'}")


def _hello(target: Target, way: Any) -> paramiko.Transport:
    transport = paramiko.Transport(way)
    transport.set_log_channel(LOG.name)
    transport.banner_timeout = transport.auth_timeout = transport.channel_timeout = target.connect_s
    options = transport.get_security_options()
    # GCM first: one pass in place of two, which on a small device halves the cost of a push.
    options.ciphers = sorted((c for c in options.ciphers if "cbc" not in c), key=lambda c: "gcm" not in c)
    known = host_keys.kinds(target.name, target.known_hosts)
    names = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
    first = [name for kind in known for name in names.get(kind, (kind,)) if name in options.key_types]
    options.key_types = [*first, *(name for name in options.key_types if name not in first)]
    return transport


def _way(target: Target, stack: ExitStack) -> Any:
    """A socket, or what is one to paramiko."""
    if target.command:
        return _proxied(target, stack)
    if target.jumps:
        # Each host in a ProxyJump is reached through the one before it.
        *before, last = target.jumps
        jump = login(replace(last, jumps=tuple(before) or last.jumps), stack)
        place, here = (target.host, target.port), ("127.0.0.1", 0)
        return jump.open_channel("direct-tcpip", place, here, timeout=target.connect_s)
    way = socket.create_connection((target.host, target.port), target.connect_s)
    stack.callback(way.close)
    way.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return way


def _proxied(target: Target, stack: ExitStack) -> socket.socket:
    """Our end of what a ProxyCommand is given as stdin and stdout."""
    ours, theirs = socket.socketpair()
    stack.callback(ours.close)
    with theirs:
        try:
            process = subprocess.Popen(
                shlex.split(target.command), stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL
            )
        except (OSError, ValueError) as error:
            raise Refused(f"the ProxyCommand of {target.device} ({target.command}) cannot be run: {error}") from error
    stack.callback(process.wait)
    stack.callback(process.kill)
    return ours


def _authenticate(transport: paramiko.Transport, target: Target) -> None:
    try:
        transport.auth_none(target.user)
        return
    except paramiko.BadAuthenticationType as error:
        ways: list[str] = list(error.allowed_types)
    if "publickey" not in ways:
        raise _refused(target, f"it takes only {', '.join(ways)}, and no password is kept here")
    tried: list[str] = []
    with contextlib.closing(_Agent(target.agent)) as agent:
        for name, key in _keys(target, agent, tried):
            try:
                more = transport.auth_publickey(target.user, key)
            except paramiko.BadAuthenticationType as error:
                raise _refused(target, f"it takes only {', '.join(error.allowed_types)}") from error
            except paramiko.AuthenticationException as error:
                if not transport.is_active() and not tried:
                    raise Unreachable(f"{target.device} closed the connection before it knew us: {error}") from error
                tried.append(name)
                if not transport.is_active():
                    break  # it has seen enough of our keys (MaxAuthTries)
                continue
            if more:
                raise _refused(target, f"after {name} it wants {', '.join(more)} too, which only you can give")
            return
    raise _refused(target, f"it took none of: {', '.join(tried)}" if tried else "there is no key to show it")


def _refused(target: Target, why: str) -> Refused:
    return Refused(
        f"{target.device} ({target.host}, port {target.port}) does not let {target.user} in: {why}. "
        "Put your public key into ~/.ssh/authorized_keys there (ssh-copy-id), or name the right one in ~/.ssh/config"
    )


class _Agent(AgentSSH):
    """The SSH agent behind a socket: also another than the environment's (IdentityAgent). None: no keys."""

    def __init__(self, path: str | None) -> None:
        super().__init__()
        if not path:
            return
        way = socket.socket(socket.AF_UNIX)
        try:
            way.settimeout(10)
            way.connect(path)
            self._connect(way)  # pyright: ignore[reportAttributeAccessIssue]
        except (OSError, paramiko.SSHException):
            way.close()

    def close(self) -> None:
        self._close()  # pyright: ignore[reportAttributeAccessIssue]


def _keys(target: Target, agent: _Agent, tried: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
    """The agent's keys (those that are named, first), then those in files. Says in `tried` which it could not read."""
    named = {_public(path) for path in target.identities} - {""}
    held = sorted(agent.get_keys(), key=lambda key: key.get_base64() not in named)
    for key in held:
        if not target.only_identities or key.get_base64() in named:
            yield f"a key of the agent ({key.comment})", key
    there = {key.get_base64() for key in held}
    for path in target.identities:
        if not path.exists() or _public(path) in there:
            continue
        try:
            yield str(path), paramiko.PKey.from_path(path)
        except NO_KEY as error:
            locked = "encrypted" in str(error).lower() or "password" in str(error).lower()
            tried.append(f"{path} (locked: ssh-add it)" if locked else f"{path} (unreadable: {error})")


def _public(path: Path) -> str:
    """The public half that lies beside a key, in base64."""
    try:
        return path.with_name(path.name + ".pub").read_text().split()[1]
    except (OSError, IndexError, UnicodeDecodeError):
        return ""
