"""What a long step tells while it works."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`done` of `of` parts of `what` are finished; `left_s`: seconds left, None where there is no telling."""

    what: str
    done: int = 0
    of: int = 0
    left_s: float | None = None
    note: str = ""

    @property
    def percent(self) -> int | None:
        return 100 * self.done // self.of if self.of else None


Tell = Callable[[Step], None]


def nobody(step: Step) -> None:
    """For those who do not want to be told."""
    del step


#: Before this much time a pace says nothing.
SETTLING_S = 3.0


@dataclass(slots=True)
class Counter:
    """Tells how far a step is, with an estimate of the time left from the pace since it began."""

    what: str
    tell: Tell
    _began: float = field(default_factory=time.monotonic)
    _from: int | None = None

    def at(self, done: int, of: int) -> None:
        if self._from is None:
            self._from, self._began = done, time.monotonic()
        advanced = done - self._from
        elapsed = time.monotonic() - self._began
        left = elapsed / advanced * (of - done) if advanced > 0 and elapsed > SETTLING_S else None
        self.tell(Step(what=self.what, done=done, of=of, left_s=left))
