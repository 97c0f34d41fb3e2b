"""A device's lease, held by a shell there for as long as it hears from here."""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agents import AgentError, Vanished
from agents.leases import described
from agents.shell_run import after, clean, last_line
from agents.transport import GRACE_S, Channel
from quantfarm.nouns import Token

TOKEN = re.compile(r"([0-9a-f-]{1,64}) ([0-9]{1,18})")
#: The longest line that agents/device/lease.sh has to say, in bytes, with room to spare.
LINE_BYTES = 8192
#: How often a wait is told, whatever comes from the device.
TELL_S = 1.0


def _now() -> float:
    """Seconds, going on while this machine sleeps (where its clocks can tell)."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class RemoteLease:
    """The lease as seen from here: it is ours until `silence_s` after the last beat that came back was sent."""

    def __init__(self, channel: Channel, beat_s: float, silence_s: float) -> None:
        self.token = Token(lineage="", count=0)
        self._channel, self._beat_s, self._silence_s = channel, beat_s, silence_s
        self._sent: dict[int, float] = {}
        self._heard = _now()
        self._ended = threading.Event()
        self.news: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._beat, self._listen)]
        for thread in self._threads:
            thread.start()

    def held(self) -> bool:
        return not self._ended.is_set() and _now() - self._heard < self._silence_s

    def close(self) -> None:
        """Gives it back: the shell there ends when its stdin does; waits for that a little."""
        self._channel.end()
        self._threads[1].join(GRACE_S)
        self._ended.set()
        self._channel.close()
        for thread in self._threads:
            thread.join(GRACE_S)

    def _beat(self) -> None:
        count = 0
        while not self._ended.wait(self._beat_s):
            count += 1
            self._sent[count] = _now()
            try:
                self._channel.write(f"{count}\n".encode())
            except Vanished:
                self._ended.set()

    def _listen(self) -> None:
        held = b""
        while data := self._channel.read():
            *whole, held = (held + data).split(b"\n")
            for line in whole:
                self._hear(line.decode(errors="replace"))
            if len(held) > LINE_BYTES:
                break
        self._ended.set()
        self.news.put("gone")

    def _hear(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word != "beat":
            self.news.put(line)
        elif rest.isascii() and rest.isdigit() and len(rest) < 12:
            sent = self._sent.pop(int(rest), None)
            self._heard = sent or self._heard

    def stderr(self) -> str:
        return last_line(self._channel.stderr())


@contextmanager
def lease(
    channel: Channel, on_wait: Callable[[str], None], *, beat_s: float, silence_s: float, device: str
) -> Iterator[RemoteLease]:
    """Waits for it, then holds it. `channel` runs agents/device/lease.sh."""
    held = RemoteLease(channel, beat_s, silence_s)
    try:
        held.token = _await(held, on_wait, device)
        yield held
    finally:
        held.close()


def _await(held: RemoteLease, on_wait: Callable[[str], None], device: str) -> Token:
    waiting, told = "", 0.0
    while True:
        try:
            word, _, rest = held.news.get(timeout=TELL_S).partition(" ")
        except queue.Empty:
            word, rest = ("", "") if held.held() else ("gone", "")
        if word == "token" and (found := TOKEN.fullmatch(rest)):
            return Token(lineage=found[1], count=int(found[2]))
        if word == "token":
            raise AgentError(f"{device} gave '{clean(rest)[:100]}' as its token", stage="lease", retryable=False)
        if word == "error":
            raise AgentError(f"{device} cannot be leased: {clean(rest)[:500]}", stage="lease", retryable=False)
        if word == "gone":
            raise Vanished(f"{device} went away while it was asked for its lease{after(held.stderr())}", stage="lease")
        waiting = _who(word, rest) or waiting
        if waiting and time.monotonic() - told >= TELL_S * 0.9:
            told = time.monotonic()
            on_wait(waiting)


def _who(word: str, rest: str) -> str:
    if word == "ending":
        return "a run that is coming to its end"
    if word != "wait":
        return ""
    try:
        return clean(described(json.loads(rest)))[:300]
    except (ValueError, KeyError, TypeError):
        return "an unknown process"
