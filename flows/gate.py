"""The start gate: a device begins a measurement as cool as it is at rest (METHOD §4)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flows.progress import tell
from flows.station import Station
from flows.stopping import Stopped
from quantfarm.nouns import Workload
from quantfarm.sensors.readings import readings
from quantfarm.thermal import LIMIT_S, Answer, Gate, Verdict

LOOK_S = 1.0
#: What heat does not change needs no gate; what runs long needs a flat start, not only a cool one.
UNTOUCHED = frozenset({"quality", "logits", "tokens"})
LONG = frozenset({"sustained"})


def wait(station: Station, workload: Workload, stopped: Callable[[], bool]) -> dict[str, Any]:
    """Waits until the device may start; what a reader of its figures must know. Raises Stopped."""
    if not station.watch.on or workload.kind in UNTOUCHED:
        return {}
    limit_s = float(dict(station.profile.options).get("gate_s") or LIMIT_S)
    gate = Gate(baseline=station.profile.idle, flat=workload.kind in LONG, limit_s=limit_s)
    began, told = time.monotonic(), ""
    while True:
        waited = time.monotonic() - began
        verdict = _judge(station, gate, waited)
        if verdict.answer is not Answer.WAIT:
            return described(verdict, waited)
        if verdict.awaited and verdict.awaited[0].split(":")[0] != told and waited > 2 * LOOK_S:
            told = verdict.awaited[0].split(":")[0]
            tell("note", f"{station.profile.name} is not measured yet: {'; '.join(verdict.awaited)}")
        if stopped():
            raise Stopped("stopped before the run began")
        time.sleep(LOOK_S)


def _judge(station: Station, gate: Gate, waited_s: float) -> Verdict:
    if station.watch.ended:  # nothing more will be read, so nothing can be waited for
        return Verdict(answer=Answer.READY, flags=(f"the sensors' shell ended: {station.watch.ended}",))
    name = gate.baseline.reading if gate.baseline else ""
    looks = station.watch.looks()
    found = readings(looks, name)
    if not found and len(looks) > len(station.profile.sensors):  # a second round of looks: there will be none
        return Verdict(answer=Answer.READY, flags=("no temperature can be read",))
    return gate.judge(found, waited_s)


def described(verdict: Verdict, waited_s: float) -> dict[str, Any]:
    """`hot_start`, and under `gate` how long it waited, for what in vain, and what waiting could not mend."""
    told = {"waited_s": round(waited_s, 1), "awaited": list(verdict.awaited), "flags": list(verdict.flags)}
    return {"hot_start": verdict.hot_start, "gate": told}
