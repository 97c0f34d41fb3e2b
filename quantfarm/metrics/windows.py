"""When each repetition of a run was, on the device's clock: what sensors read meanwhile belongs to it.

The same windows as the database's table `repetitions` (storage/traces.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantfarm.nouns import Trace

#: Samples of these sources are the process's own, beside the run at 10 Hz: no sensors of the device.
OF_THE_PROCESS = frozenset({"proc", "ps"})


@dataclass(frozen=True, slots=True)
class Window:
    """ns of the device's monotonic clock; `tokens` were made (or read) in it."""

    phase: str
    began: int
    finished: int
    tokens: int

    @property
    def seconds(self) -> float:
        return (self.finished - self.began) / 1e9


def windows(trace: Trace, phase: str) -> list[Window]:
    """The repetitions of a phase ("prefill", "decode") in order of time. None of a runtime that does not say when."""
    return sorted(_windows(trace, phase), key=lambda window: window.began)


def _windows(trace: Trace, phase: str) -> Iterator[Window]:
    for event in trace.of(phase):
        until = event.get("until")
        if event["mode"] == "bench" and until is not None:
            yield Window(phase, round(until - event["seconds"] * 1e9), until, event["tokens"])
    prompts = {event["repetition"]: event["tokens"] for event in trace.of("prefill") if event["mode"] == "app"}
    for event in trace.of("decode"):
        if event["mode"] != "app":
            continue
        times = event["times"]
        if phase == "decode" and len(times) > 1:
            yield Window(phase, times[0], times[-1], len(times) - 1)
        elif phase == "prefill" and event["repetition"] in prompts:
            yield Window(phase, event["submit"], times[0], prompts[event["repetition"]])


def looks(trace: Trace) -> list[Mapping[str, Any]]:
    """The samples of the device's sensors, in order of time."""
    return sorted((e for e in trace.of("sample") if e["source"] not in OF_THE_PROCESS), key=lambda event: event["t"])


def series(trace: Trace, name: str) -> list[tuple[int, float]]:
    """(t, value) of one reading, in order of time; of two sensors that have the name, the first one's."""
    found: list[tuple[int, float]] = []
    source = ""
    for look in looks(trace):
        if name in look["values"] and source in ("", look["source"]):
            source = look["source"]
            found.append((look["t"], float(look["values"][name])))
    return found


def names(trace: Trace) -> dict[str, float]:
    """Every reading that the sensors gave, with its first value."""
    found: dict[str, float] = {}
    for look in looks(trace):
        for name, value in look["values"].items():
            found.setdefault(name, float(value))
    return found
