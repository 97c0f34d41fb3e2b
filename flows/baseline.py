"""What a device reads at rest: its idle baseline, which its start gate compares with (METHOD §4)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from flows.station import Station
from flows.steps import Teller
from flows.stopping import Stopped
from quantfarm import thermal
from quantfarm.nouns import Idle
from quantfarm.sensors import pick
from quantfarm.sensors.readings import readings, values

#: How long a device is watched at rest, and how often longer where it is not at rest yet.
WATCH_S = 60.0
LONGEST = 5
#: What a first look may take.
FIRST_S = 10.0


def measure(station: Station, watch_s: float, told: Teller, stopped: Callable[[], bool]) -> Idle | None:
    """Watches the device at rest; None where it reads no temperature. Raises Stopped."""
    if not station.watch.on or watch_s <= 0 or not _reads_temperature(station, stopped):
        return None
    told.step("watching it at rest, for its idle temperature", watch_s)
    began, why = time.monotonic(), ""
    while True:
        _sleep(1.0, stopped)
        waited = time.monotonic() - began
        if waited < watch_s:
            continue
        seen = readings(station.watch.looks())
        why = thermal.restless(seen) if watch_s >= thermal.WINDOW_S * thermal.COVERED else ""
        if not why or waited >= LONGEST * watch_s or station.watch.ended:
            break
    if why:
        told.warning(f"it did not come to rest ({why}): register it again when nothing else runs on it")
    name = pick.temperature(values(station.watch.looks()))
    return thermal.idle(seen, reading=name, measured_at=datetime.now(UTC).isoformat(timespec="seconds"))


def _reads_temperature(station: Station, stopped: Callable[[], bool]) -> bool:
    end = time.monotonic() + FIRST_S
    while time.monotonic() < end and not station.watch.ended:
        if looks := station.watch.looks():
            if pick.temperature(values(looks)):
                return True
            if len({look.sensor for look in looks}) < len(looks):  # a second round has begun
                return False
        _sleep(0.5, stopped)
    return False


def _sleep(seconds: float, stopped: Callable[[], bool]) -> None:
    if stopped():
        raise Stopped("stopped while the device was watched at rest")
    time.sleep(seconds)
