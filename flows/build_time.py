"""How long the making of a build takes: told while it goes on, remembered for the next estimate."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage import atomic
from storage.home import Home

#: What a first build of a runtime takes, about, where this farm has not yet seen one (two cores).
ABOUT_S = 300.0
#: Seconds between words about how far a build is.
TELL_S = 30.0

Tell = Callable[[str], None]


@dataclass(slots=True)
class Work:
    """Tells how long a build takes, and how long it will, once it has really begun."""

    what: str
    about_s: float
    tell: Tell
    seconds: float = 0.0  # that it took; 0: it was there already
    _began: float | None = None

    def begins(self) -> None:
        if self._began is None:
            self._began = time.monotonic()
            self.tell(f"{self.what} (about {minutes(self.about_s)})")

    @contextmanager
    def told(self) -> Iterator[None]:
        over = threading.Event()
        teller = threading.Thread(target=self._loop, args=(over,), daemon=True)
        teller.start()
        try:
            yield
            if self._began is not None:
                self.seconds = time.monotonic() - self._began
        finally:
            over.set()
            teller.join()

    def _loop(self, over: threading.Event) -> None:
        while not over.wait(TELL_S):
            if self._began is not None:
                gone = time.monotonic() - self._began
                self.tell(f"{self.what}: {minutes(gone)} of about {minutes(max(self.about_s, gone))}")


def minutes(seconds: float) -> str:
    return f"{max(1, seconds):.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@dataclass(frozen=True, slots=True)
class Took:
    """How long the last build of each runtime took on a device: the estimate of the next."""

    path: Path

    @classmethod
    def of(cls, home: Home, device: str) -> Took:
        return cls(home.root / "builds" / f"{device}.json")

    def about_s(self, runtime: str) -> float:
        return self._all().get(runtime, ABOUT_S)

    def remember(self, runtime: str, seconds: float) -> None:
        text = json.dumps({**self._all(), runtime: round(seconds, 1)}, sort_keys=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_atomic(self.path, text.encode())

    def _all(self) -> dict[str, float]:
        try:
            return {str(name): float(value) for name, value in json.loads(self.path.read_text()).items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}  # an estimate: nothing follows from it
