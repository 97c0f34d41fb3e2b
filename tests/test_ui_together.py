"""Two sweeps at once: the more urgent one measures first, and what both ask for is made and measured once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

from quantfarm.nouns import Landed
from storage import wanted
from storage.home import Home
from tests.sweeping import landings, start
from tests.test_sweep_flow import fake

SPEED = ("--suite", "speed", "-p", "16", "-n", "8", "--threads", "1", "--json")
WAIT_S = 240.0


@contextmanager
def sweep(*arguments: str) -> Iterator[Popen[str]]:
    process = start("sweep", *arguments, *SPEED)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: Popen[str]) -> None:
    out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, out + err


def in_order(home: Path) -> list[Landed]:
    return sorted(landings(home).all(), key=lambda landed: landed.started_at)


def landed(home: Path, cells: int) -> None:
    end = time.monotonic() + WAIT_S
    while len(list(landings(home).all())) < cells:
        assert time.monotonic() < end, "nothing landed"
        time.sleep(0.1)


def test_a_persons_sweep_gets_the_device_between_two_cells_and_the_other_goes_on(
    home: Path, prefect_server: str
) -> None:
    name = fake(home, "bench-phone", sleep_s=1)
    nightly = ("--devices", name, "--quants", "F16", "--launches", "15", "--priority", "-5")
    persons = ("--devices", name, "--quants", "Q8_0", "--launches", "2")
    with sweep(*nightly) as slow:
        landed(home, 2)
        with sweep(*persons) as urgent:
            ended(urgent)
            assert slow.poll() is None, "the nightly sweep was over before it could hand over"
        ended(slow)
    order = [one.cell.variant.quant for one in in_order(home)]
    assert Counter(order) == {"F16": 30, "Q8_0": 4}
    first = order.index("Q8_0")
    assert order[first : first + 4] == ["Q8_0"] * 4, "the more urgent one was interrupted"
    assert order[-1] == "F16"


def test_what_two_sweeps_ask_for_is_made_and_measured_once(home: Path, prefect_server: str) -> None:
    name = fake(home, "bench-phone", sleep_s=0.2)
    same = ("--devices", name, "--quants", "Q8_0,Q4_0", "--launches", "3")
    with sweep(*same) as one, sweep(*same) as other:
        ended(one)
        ended(other)
    counted = Counter(one.cell.id for one in in_order(home))
    assert (len(counted), set(counted.values())) == (12, {1})
    made = list((home / "artifacts").glob("*/model.gguf"))
    assert len(made) == 2


def test_who_waits_is_known_until_it_has_the_device_or_dies(home: Path) -> None:
    farm = Home(home)
    with wanted.waiting(farm, "phone", 0, "a person's sweep"):
        assert wanted.more_urgent(farm, "phone", -5) == "a person's sweep"
        assert wanted.more_urgent(farm, "phone", 0) == "", "the same priority takes its turn"
        assert wanted.more_urgent(farm, "tablet", -5) == ""
    assert wanted.more_urgent(farm, "phone", -5) == ""
    left = home / "wanted" / "phone" / "+3.999999-0badcafe"
    left.write_text('{"holder": "a dead one"}')
    assert wanted.more_urgent(farm, "phone", -5) == "", "who died waits no more"
    assert not left.exists()
