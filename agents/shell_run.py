"""One command on a device, watched from here: its lines, its limit, its end."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator

from agents import Exit, Vanished
from agents.local import LINE_LIMIT
from agents.transport import Channel

#: How long the device may take to kill what it was told to end (its own grace is in agents/device/run.sh).
END_S = 15.0
#: After a line that is too long, output is thrown away but for this much, where the end mark may be.
KEPT = 256


class Watch:
    """Beats for the run to live by; ends it when its time is up or a stop is asked for; sleeps otherwise."""

    def __init__(self, channel: Channel, limit_s: float, stopped: Callable[[], bool], beat_s: float) -> None:
        self.channel, self.limit_s, self.stopped, self.beat_s = channel, limit_s, stopped, beat_s
        self.reason = ""
        self.deaf = False  # nothing more is given on
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _loop(self) -> None:
        deadline = time.monotonic() + self.limit_s
        beat = time.monotonic() + self.beat_s
        # One look a second: the controller sleeps while a device measures.
        while not self._done.wait(min(1.0, self.beat_s, max(0.01, deadline - time.monotonic()))):
            if self.reason or self.stopped():
                return self._end("stopped on request")
            if time.monotonic() >= deadline:
                return self._end(f"took longer than its limit of {self.limit_s:g} s")
            if time.monotonic() >= beat:
                beat = time.monotonic() + self.beat_s
                self._beat()
        return None

    def _beat(self) -> None:
        try:
            self.channel.write(b"\n")
        except Vanished:
            self.channel.close()

    def _end(self, reason: str) -> None:
        """The device closes the command's stdin, then kills it; a device that does not answer is left."""
        self.end(reason)
        if not self._done.wait(END_S):
            self.channel.close()

    def end(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.channel.end()


def run(
    channel: Channel,
    mark: str,
    *,
    on_line: Callable[[str], None],
    limit_s: float,
    stopped: Callable[[], bool],
    beat_s: float,
) -> Exit:
    """To the end mark, or Vanished. `mark`: what agents/device/run.sh was told to end with."""
    try:
        with Watch(channel, limit_s, stopped, beat_s) as watch:
            status = _read(channel, mark, on_line, watch)
        channel.end()
        stderr = channel.stderr()
    finally:
        channel.close()
    if status is None:
        told = "; ".join(text for text in (watch.reason, last_line(stderr)) if text)
        raise Vanished("the end of the run was never seen: the device, or the way to it, went away" + after(told))
    return Exit(code=status, reason=watch.reason, stderr=stderr)


def after(told: str) -> str:
    return f" ({told})" if told else ""


def last_line(stderr: str) -> str:
    lines = [clean(line).strip() for line in stderr.splitlines()]
    return next((line for line in reversed(lines) if line), "")[-300:]


def clean(text: str) -> str:
    """A device's words for a message: without control characters."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _read(channel: Channel, mark: str, on_line: Callable[[str], None], watch: Watch) -> int | None:
    """Gives the lines between begin mark and end mark; the exit status, None where the end mark never came."""
    begin, begun = f"{mark} begin\n".encode(), False
    end = re.compile(rb"%s ([0-9]{1,3})\n" % mark.encode())
    for line in _lines(channel, watch):
        if not begun:
            begun = line.endswith(begin)  # a login shell's profile may have printed what it likes before
            continue
        # What was printed last may have had no end of its own: then the mark stands behind it.
        found = end.search(line, max(0, len(line) - len(mark) - 8))
        told = line[: found.start()] if found else line
        if told and not watch.deaf:
            on_line(told.decode(errors="replace"))
        if found:
            return code(int(found[1]))
    return None


def _lines(channel: Channel, watch: Watch) -> Iterator[bytes]:
    held = bytearray()
    while data := channel.read():
        held += data
        if b"\n" in data:
            *whole, rest = held.split(b"\n")
            held = bytearray(rest)
            for line in whole:
                if len(line) >= LINE_LIMIT:
                    _refuse(watch)
                yield bytes(line[-KEPT:] if len(line) >= LINE_LIMIT else line) + b"\n"
        if len(held) >= LINE_LIMIT:
            _refuse(watch)
            del held[:-KEPT]
    if held:
        yield bytes(held)


def _refuse(watch: Watch) -> None:
    watch.deaf = True
    watch.end(f"printed a line longer than {LINE_LIMIT // 2**20} MiB")


def code(status: int) -> int:
    """A shell's status as a process's: above 128 it was a signal."""
    return -(status - 128) if 128 < status < 193 else status
