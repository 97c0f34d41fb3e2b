"""The sensors of a device while it is leased: one shell for all of them, for as long as the lease lasts.

A stream for each cell would cost its start and its end each time; this one also shows the device
cooling down between cells, which is what the start gate needs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from agents import Agent, AgentError
from quantfarm.marked import WORD
from quantfarm.sensors import stream
from quantfarm.sensors.stream import Stamped

#: Two hours of ten sensors, one look a second: what a cell can look back on.
KEPT = 72_000
#: Lines that nobody has looked at yet: more of them and the oldest go, whatever a device prints.
UNREAD = 400_000
#: The line that ends a tick: what stands before it is whole.
TICK_END = f"{WORD} . "
LIMIT_S = 30 * 24 * 3600.0


class Watch:
    """Reads the sensors that the profile names; none, and nothing is started."""

    def __init__(self, agent: Agent, every_s: float = 1.0) -> None:
        self._agent, self._every_s = agent, every_s
        self._lines: list[str] = []  # of ticks that nobody has looked at yet
        self._looks: deque[Stamped] = deque(maxlen=KEPT)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sensors of {agent.profile.name}", daemon=True)
        self._lock = threading.Lock()
        #: Why there are no more looks, where there ought to be.
        self.ended = ""

    @property
    def on(self) -> bool:
        """Whether there is anything to watch (a simulated device has no sensors)."""
        return bool(self._agent.profile.sensors) and not self._agent.profile.simulated

    def __enter__(self) -> Watch:
        if self.on:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        if self.on:
            self._thread.join()

    def _run(self) -> None:
        command = ["sh", "-c", stream.script(self._agent.profile.sensors, self._every_s)]
        try:
            left = self._agent.run(command, on_line=self._keep, limit_s=LIMIT_S, stopped=self._stop.is_set)
        except AgentError as error:
            self.ended = str(error)
        else:
            self.ended = left.reason or f"ended by itself (exit status {left.code})"

    def _keep(self, line: str) -> None:
        with self._lock:
            self._lines.append(line)
            if len(self._lines) > UNREAD:
                del self._lines[: UNREAD // 2]

    def looks(self) -> list[Stamped]:
        """All that is kept of whole ticks, in order."""
        with self._lock:
            ends = [n for n, line in enumerate(self._lines) if line.startswith(TICK_END)]
            if ends:
                self._looks.extend(stream.read(self._lines[: ends[-1] + 1]))
                del self._lines[: ends[-1] + 1]
            return list(self._looks)

    def events(self, begin: Mapping[str, Any]) -> list[dict[str, Any]]:
        """`sample` and `state` events since the run began, on the clock of its trace."""
        if not self.on or not begin:
            return []
        return [event for event in stream.to_events(self.looks(), begin) if event["t"] >= begin["t"]]
