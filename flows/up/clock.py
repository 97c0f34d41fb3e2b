"""The machine's clock beside the one that only goes forward: set back, or ahead because the machine slept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

#: Seconds that a clock may be mended by without anybody minding.
SLACK_S = 30.0


@dataclass(slots=True)
class Clock:
    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    _offset: float = field(init=False)

    def __post_init__(self) -> None:
        self._offset = self.wall() - self.steady()

    def jumped(self) -> float:
        """Seconds that the clock jumped since the last look, negative where it was set back; 0 for less than SLACK_S.

        Slow mending (NTP slews by half a millisecond a second) is taken in step by step.
        """
        offset = self.wall() - self.steady()
        jump, self._offset = offset - self._offset, offset
        return jump if abs(jump) > SLACK_S else 0.0
