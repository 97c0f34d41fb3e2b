"""Ports of this machine: free, or taken and by whom."""

from __future__ import annotations

import contextlib
import socket

import psutil

from quantfarm.errors import UsageError

HOST = "127.0.0.1"
#: How many ports further one looks for a free one.
FURTHER = 200


def free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """`python3.11 (pid 123)`, or that it may not be seen."""
    with contextlib.suppress(psutil.Error, OSError):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid:
                with contextlib.suppress(psutil.Error):
                    return f"{psutil.Process(one.pid).name()} (pid {one.pid})"
    return "a program that may not be seen from here (another user's, or outside this container)"


def need(port: int, option: str, use: str, or_else: str = "") -> None:
    """Raises UsageError where it is taken: by whom, and which one is free; `or_else`: another way out."""
    if free(port):
        return
    other = next((one for one in range(port + 1, min(port + FURTHER, 65536)) if free(one)), None)
    advice = f"; use {option} {other}" if other else f"; give another {option}"
    raise UsageError(f"port {port} ({use}) is taken by {holder(port)}{advice}{or_else}")
