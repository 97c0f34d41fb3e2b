"""A port of a device's loopback as a port of this machine's, over the SSH connection that is there."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import paramiko

from agents import AgentError

LOOPBACK = "127.0.0.1"
BLOCK = 65536
#: How long the device may take to open its side. Seconds.
OPEN_S = 15.0
GONE = (paramiko.SSHException, EOFError, OSError)

Open = Callable[[tuple[str, int]], paramiko.Channel]


@contextmanager
def forwarded(transport: paramiko.Transport, port: int, local: int, device: str) -> Iterator[int]:
    """The port here: `local`, or a free one for 0. Raises AgentError where the device's server forbids it and where
    the local port is taken."""

    def opened(origin: tuple[str, int]) -> paramiko.Channel:
        return transport.open_channel("direct-tcpip", (LOOPBACK, port), origin, timeout=OPEN_S)

    try:
        opened((LOOPBACK, 0)).close()  # said now, and not to the first who connects
    except paramiko.ChannelException as error:
        message = f"{device} forwards no ports over SSH ({error}): say AllowTcpForwarding yes in its sshd_config"
        raise AgentError(message, stage="forward", retryable=False) from error
    except GONE as error:
        raise AgentError(f"{device} went away: {error}", stage="forward", retryable=True) from error
    with _listening(local) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, opened), daemon=True)
        accepting.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends accept()


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        message = f"port {port} of {LOOPBACK} cannot be had: {error.strerror}"
        raise AgentError(message, stage="forward", retryable=False) from error


def _accept(listener: socket.socket, opened: Open) -> None:
    while True:
        try:
            here, origin = listener.accept()
        except OSError:
            return
        threading.Thread(target=_carry, args=(here, origin, opened), daemon=True).start()


def _carry(here: socket.socket, origin: tuple[str, int], opened: Open) -> None:
    """Both ways until both have ended: a side that ends for one direction may still read."""
    with here:
        try:
            there = opened(origin)
        except GONE:
            return
        back = threading.Thread(target=_copy, args=(there, here), daemon=True)
        back.start()
        _copy(here, there)
        back.join()
        there.close()


def _copy(source: socket.socket | paramiko.Channel, to: socket.socket | paramiko.Channel) -> None:
    with contextlib.suppress(*GONE):
        while data := source.recv(BLOCK):
            to.sendall(data)
    with contextlib.suppress(*GONE):
        to.shutdown(socket.SHUT_WR)
