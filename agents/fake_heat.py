"""How warm a scripted device gets and what that does to its speed: Newton's law, with a step.

dT/dt = heat_c_per_s · load - (T - idle_c) / cool_s; from `throttle_c` upwards it runs at the share
`throttle_to` of its speed, less `slow_per_c` of that for each degree above (never below a hundredth).
With a constant load the temperature tends to idle_c + heat_c_per_s · cool_s, so what a sustained run must
find can be computed by hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Heat:
    """Temperatures in °C, times in seconds. `heat_c_per_s` 0: it stays as cool as it is."""

    idle_c: float
    heat_c_per_s: float
    cool_s: float
    throttle_c: float
    throttle_to: float
    now_c: float = math.nan
    slow_per_c: float = 0.0

    def __post_init__(self) -> None:
        if math.isnan(self.now_c):
            self.now_c = self.idle_c

    @property
    def speed(self) -> float:
        """Share of the full speed at which it runs now."""
        if self.now_c < self.throttle_c:
            return 1.0
        return max(0.01, self.throttle_to * (1 - self.slow_per_c * (self.now_c - self.throttle_c)))

    def spend(self, seconds: float, load: float) -> None:
        """The temperature after some time at a load between 0 and 1: the exact solution."""
        steady = self.idle_c + self.heat_c_per_s * load * self.cool_s
        self.now_c = steady + (self.now_c - steady) * math.exp(-seconds / self.cool_s)
