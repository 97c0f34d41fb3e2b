"""What the sensors saw during a run, written into its trace before the run's own end."""

from __future__ import annotations

import json
from typing import Any

from flows.station import Station
from storage.landing import TraceWriter


class Lines:
    """Passes a run's lines to its trace and holds back an `end`, which must stay the last."""

    def __init__(self, trace: TraceWriter, station: Station) -> None:
        self._trace, self._station = trace, station
        self._begin: dict[str, Any] = {}
        self._end = ""

    def write(self, line: str) -> None:
        if self._end:  # there was something after the end: then it was none
            self._trace.write(self._end)
            self._end = ""
        if not self._begin:
            self._begin = _event(line, "begin")
        if '"end"' in line[:200] and _event(line, "end"):
            self._end = line
        else:
            self._trace.write(line)

    def finish(self) -> None:
        """The run is over: what was seen, then its end."""
        for event in self._station.watch.events(self._begin):
            self._trace.write(json.dumps(event))
        if self._end:
            self._trace.write(self._end)


def _event(line: str, kind: str) -> dict[str, Any]:
    """The event where the line is one of this kind, else an empty one."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) and event.get("event") == kind else {}
