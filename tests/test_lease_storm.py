"""A hundred thousand lease events on 64 devices: controllers that come, write, stall, and are killed as they work.

What every controller did is in a log of its own, which survives a kill -9. Judged from the logs alone:
no device is ever held twice, tokens only grow, what a killed controller held is held again by others, and
who writes under an older token than one that has written is fenced.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import random
import struct
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from agents import leases
from quantfarm.nouns import Token
from storage.fencing import Fenced, admit
from storage.home import Home

DEVICES, CONTROLLERS, EVENTS = 64, 6, 100_000
EVENTS_PER_KILL = 1000
#: What an event is: kind, device, the token's lineage and count, when (ns, one clock for all).
RECORD = struct.Struct("<BBxxxxxxQQQ")
HELD, WORKED, RELEASED, ADMITTED, FENCED, IN_USE, WRONG = range(7)


class InUse(Exception):
    pass


def give_up(who: str) -> NoReturn:
    raise InUse(who)


def wait(who: str) -> None:
    """Somebody else has it; we have time."""


class Controller:
    """Takes devices at random, writes what it measured, and later tries to write it again."""

    def __init__(self, folder: Path, number: int) -> None:
        self.home = Home(folder / "home")
        self.random = random.Random(number)
        self.log = os.open(folder / "logs" / f"{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with (folder / "greatest").open("r+b") as file:
            self.greatest = mmap.mmap(file.fileno(), 8 * DEVICES)  # by device: the greatest token that has written
        self.past: list[tuple[int, Token]] = []

    def note(self, kind: int, device: int, token: Token | None = None) -> None:
        lineage, count = (int(token.lineage, 16), token.count) if token else (0, 0)
        os.write(self.log, RECORD.pack(kind, device, lineage, count, time.monotonic_ns()))

    def run(self) -> NoReturn:
        while True:
            if self.past and self.random.random() < 0.3:
                self.write_late()
            else:
                self.work()

    def work(self) -> None:
        device = self.random.randrange(DEVICES)
        patient = self.random.random() < 0.02
        try:
            with leases.lease(f"storm-{device}", "a controller", wait if patient else give_up) as held:
                self.note(HELD, device, held.token)
                for _ in range(self.random.randrange(3)):
                    self.note(WORKED, device, held.token)
                if self.random.random() < 0.7:
                    self.write(device, held.token)
                self.note(RELEASED, device, held.token)
                self.past = [*self.past[-20:], (device, held.token)]
        except InUse:
            self.note(IN_USE, device)

    def write(self, device: int, token: Token) -> None:
        """Whoever holds the device now is never fenced."""
        try:
            admit(self.home, f"storm-{device}", token)
        except Fenced:
            return self.note(WRONG, device, token)
        struct.pack_into("<Q", self.greatest, 8 * device, token.count)
        return self.note(ADMITTED, device, token)

    def write_late(self) -> None:
        """A result that was held up: taken only if nobody who held the device later has written."""
        device, token = self.random.choice(self.past)
        (greatest,) = struct.unpack_from("<Q", self.greatest, 8 * device)
        try:
            admit(self.home, f"storm-{device}", token)
        except Fenced:
            return self.note(FENCED, device, token)
        return self.note(WRONG if token.count < greatest else ADMITTED, device, token)


def control(folder: Path, number: int) -> NoReturn:
    os.environ["QUANTFARM_LEASES"] = str(folder / "leases")
    Controller(folder, number).run()


@dataclass(frozen=True)
class Event:
    controller: int
    kind: int
    device: int
    lineage: int
    count: int
    at: int


@dataclass(frozen=True)
class Holding:
    """From the first to the last that its controller noted of it: it held the device at least so long."""

    device: int
    lineage: int
    count: int
    begin: int
    end: int
    killed: bool


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: what is tested is the locks, not the disk."""
    memory = Path("/dev/shm")  # noqa: S108
    if not memory.is_dir() or not os.access(memory, os.W_OK):
        yield tmp_path
        return
    import tempfile

    with tempfile.TemporaryDirectory(dir=memory, prefix="quantfarm-storm-") as made:
        yield Path(made)


def storm(folder: Path) -> tuple[list[Event], int]:
    """Runs until enough has happened; all events, and how many controllers were killed."""
    (folder / "logs").mkdir()
    (folder / "greatest").write_bytes(bytes(8 * DEVICES))
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.test_lease_storm"])
    chosen, number = random.Random(0), 0
    running: list[BaseProcess] = []
    with ExitStack() as cleanup:
        cleanup.callback(lambda: [process.kill() or process.join() for process in running])
        while (happened := _count(folder)) < EVENTS:
            while len(running) < CONTROLLERS:
                number += 1
                running.append(context.Process(target=control, args=(folder, number), daemon=True))
                running[-1].start()
            if happened >= EVENTS_PER_KILL * (number - CONTROLLERS + 1):
                victim = running.pop(chosen.randrange(len(running)))
                assert victim.is_alive(), f"a controller ended by itself: exit code {victim.exitcode}"
                victim.kill()
                victim.join()
            time.sleep(0.005)
    return sorted(_events(folder), key=lambda event: event.at), number


def _count(folder: Path) -> int:
    return sum(log.stat().st_size for log in (folder / "logs").iterdir()) // RECORD.size


def _events(folder: Path) -> Iterator[Event]:
    for log in (folder / "logs").iterdir():
        data = log.read_bytes()
        for fields in RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size]):
            yield Event(int(log.name), *fields)


def holdings(events: list[Event]) -> dict[int, list[Holding]]:
    """By device, in the order in which they began."""
    noted: dict[tuple[int, int, int], list[Event]] = defaultdict(list)
    inside: set[tuple[int, int, int]] = set()
    over: set[tuple[int, int, int]] = set()
    for event in events:
        key = (event.device, event.lineage, event.count)
        if event.kind == HELD:
            assert key not in inside | over, f"one token for two holdings: {event}"
            inside.add(key)
        if key in inside and event.kind in (HELD, WORKED, RELEASED, ADMITTED):
            noted[key].append(event)
        if event.kind == RELEASED:
            inside.remove(key)
            over.add(key)
    found: dict[int, list[Holding]] = defaultdict(list)
    for key, about in noted.items():
        assert len({event.controller for event in about}) == 1
        found[key[0]].append(Holding(*key, about[0].at, about[-1].at, about[-1].kind != RELEASED))
    return {device: sorted(some, key=lambda one: one.begin) for device, some in found.items()}


def test_no_device_is_held_twice_orphans_are_freed_and_stale_writers_are_fenced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, controllers = storm(folder)
    kinds = Counter(event.kind for event in events)
    assert len(events) >= EVENTS
    assert controllers >= EVENTS // EVENTS_PER_KILL
    assert kinds[WRONG] == 0, [event for event in events if event.kind == WRONG][:5]
    assert min(kinds[kind] for kind in (HELD, RELEASED, ADMITTED, FENCED, IN_USE)) > 100, kinds

    by_device = holdings(events)
    assert len(by_device) == DEVICES
    orphans = 0
    for device, held in by_device.items():
        for one, following in pairwise(held):
            assert one.end < following.begin, f"two held device {device} at once: {one}, {following}"
            assert one.lineage == following.lineage, f"device {device} lost its lease file: {one}, {following}"
            assert one.count < following.count, f"a token did not grow: {one}, {following}"
            orphans += one.killed
    assert orphans >= 10, f"only {orphans} killed holders had successors: nothing was shown"

    monkeypatch.setenv("QUANTFARM_LEASES", str(folder / "leases"))
    for device in range(DEVICES):  # all are dead: nothing is held
        with leases.lease(f"storm-{device}", "the last", give_up) as held:
            assert held.token.count > by_device[device][-1].count
