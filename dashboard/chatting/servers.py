"""The servers that the playground started: one a device, for all windows of this dashboard, until they are stopped.

A page that is loaded again finds the server that answers there. They end with the dashboard (their stdin does), and by
themselves when nobody has asked for a while.
"""

from __future__ import annotations

import os
import threading

import streamlit as st

from dashboard import store
from quantfarm.chat.server_process import ChatServer, Phase, Wanted

IDLE_MINUTES = 15.0


class Servers:
    """By device. Safe from every session's thread."""

    def __init__(self) -> None:
        self._lock, self._by_device = threading.Lock(), dict[str, ChatServer]()

    def of(self, device: str) -> ChatServer | None:
        """Also one that has ended, which says why."""
        with self._lock:
            return self._by_device.get(device)

    def start(self, wanted: Wanted) -> ChatServer:
        """In the place of another on the same device."""
        self.stop(wanted.device)
        environment = {**os.environ, "QUANTFARM_HOME": str(store.home().root)}
        with self._lock:
            server = self._by_device[wanted.device] = ChatServer(wanted, environment=environment)
        return server

    def stop(self, device: str) -> None:
        """Once it has ended the device is free; what it said last is forgotten."""
        with self._lock:
            server = self._by_device.pop(device, None)
        if server:
            server.stop()


@st.cache_resource(show_spinner=False)
def servers() -> Servers:
    return Servers()


def answering(server: ChatServer | None, wanted: Wanted) -> bool:
    """Whether it answers as what is wanted now."""
    return bool(server) and server.wanted == wanted and server.state.phase is Phase.READY
