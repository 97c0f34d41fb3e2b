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

#: An hour of ten sensors, one look a second: what a cell can look back on.
KEPT_LINES = 400_000
LIMIT_S = 30 * 24 * 3600.0


class Watch:
    """Reads the sensors that the profile names; none, and nothing is started."""

    def __init__(self, agent: Agent, every_s: float = 1.0) -> None:
        self._agent, self._every_s = agent, every_s
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
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
        from quantfarm.sensors import stream

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

    def looks(self) -> list[Any]:
        """All that is kept, in order."""
        from quantfarm.sensors import stream

        with self._lock:
            lines = list(self._lines)
        return list(stream.read(lines))

    def forget(self) -> None:
        """What was seen before now is of no more use."""
        with self._lock:
            self._lines.clear()

    def events(self, begin: Mapping[str, Any]) -> list[dict[str, Any]]:
        """`sample` events since the run began, on the clock of its trace."""
        if not self.on or not begin:
            return []
        from quantfarm.sensors import stream

        return stream.to_events(self.looks(), begin)
