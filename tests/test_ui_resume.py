"""Going on with a sweep that was cut off, by its id alone."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from pathlib import Path

from tests.sweeping import landings, quantfarm, start
from tests.test_sweep_flow import fake

SWEEP = ("--quants", "F16,Q8_0", "--suite", "speed", "--launches", "5", "-p", "16", "-n", "8", "--threads", "1")


def unfinished() -> list[dict[str, object]]:
    return json.loads(quantfarm("sweep", "--resume", "--json"))


def test_a_killed_sweep_is_listed_and_gone_on_with_and_nothing_runs_twice(home: Path, prefect_server: str) -> None:
    assert unfinished() == []
    assert not home.exists(), "a look makes nothing"
    name = fake(home, "bench-phone", sleep_s=0.5)
    process = start("sweep", "--devices", name, *SWEEP, "--json")
    try:
        end = time.monotonic() + 120
        while len(list(landings(home).all())) < 3:
            assert time.monotonic() < end, "nothing landed"
            time.sleep(0.1)
        (alive,) = unfinished()
        assert alive["state"] == "running"
        assert "carried out by another process" in quantfarm("sweep", "--resume", str(alive["sweep"]), code=2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()

    (left,) = unfinished()
    assert (left["state"], left["cells"]) == ("cut off", 20)
    done = json.loads(quantfarm("sweep", "--resume", str(left["sweep"]), "--json"))
    assert done["sweep"] == left["sweep"]
    assert done["ok"] + done["known"] == 20
    assert set(Counter(one.cell.id for one in landings(home).all()).values()) == {1}
    assert unfinished() == []
    assert "is done" in quantfarm("sweep", "--resume", str(left["sweep"]), code=2)


def test_a_sweep_is_gone_on_with_as_it_was_asked_for(home: Path) -> None:
    assert "takes no --suite" in quantfarm("sweep", "--resume", "20260101-000000-1", "--suite", "quick", code=2)
    assert "unknown sweep" in quantfarm("sweep", "--resume", "20260101-000000-1", code=2)
