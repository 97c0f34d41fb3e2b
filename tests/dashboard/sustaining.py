"""Sustained launches for tests of views: made up, and landed with a trace as a runner writes one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from quantfarm.metrics import sustained
from quantfarm.nouns import DeviceProfile, Trace, Workload, parameters
from storage.home import Home
from tests.storing import cell, landed, put
from tests.test_sustained import looks, runs, trace

PIXEL = DeviceProfile(name="pixel", kind="adb", chip="Tensor G3", cores=4)
THROTTLES = [10.0] * 3 + [20.0] * 9
RISES = [15 + 0.5 * i for i in range(12)]
BEGIN = {"event": "begin", "t": 10**9, "schema": 1, "clock": "monotonic_ns", "runner": "llama_cpp", "versions": {}}


def put_load(
    home: Home,
    seconds: Sequence[float] = THROTTLES,
    *,
    profile: DeviceProfile = PIXEL,
    quant: str = "Q4_K_M",
    reading: str = "skin_therm_c",
    **conditions: Any,
) -> str:
    """Runs of so many seconds each; without a `reading` no temperature. The id of its cell."""
    heat = looks(reading, 41.0) if reading else []
    found = trace(*runs(seconds, tokens=501), *heat).events[1:]
    events = [BEGIN | {"system": "Linux", "pid": 1}, *found]
    of = cell(
        workload=Workload(kind="sustained", parameters=parameters(n_gen=500, runs=len(seconds))),
        quant=quant,
        profile=profile,
    )
    said = {"on_mains": False, "governor": "schedutil", "settings": {"threads": 4}, **conditions}
    figures = sustained.measure(Trace(events=tuple(events)))
    put(home, landed(of, figures=figures, **said), [json.dumps(event) for event in events])
    return of.id
