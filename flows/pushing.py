"""How far a file is on its way to a device, told now and then."""

from __future__ import annotations

import time
from pathlib import Path

from flows.progress import tell

#: Smaller files are there before one could read about them.
WORTH_TELLING = 32 * 2**20
EVERY_S = 1.0


class Told:
    """Told of bytes done and of all; tells at most once a second, with an estimate."""

    def __init__(self, device: str, file: Path) -> None:
        self._device, self._name = device, file.name
        self._began = self._last = time.monotonic()
        self._first = 0

    def __call__(self, done: int, of: int) -> None:
        now = time.monotonic()
        if of < WORTH_TELLING or now - self._last < EVERY_S:
            return
        self._first = self._first or done
        self._last = now
        rate = (done - self._first) / (now - self._began)
        left = f", about {(of - done) / rate:.0f} s left" if rate > 0 else ""
        tell("note", f"sending {self._name} to {self._device}: {100 * done // of} %{left}")
