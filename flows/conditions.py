"""What else was so on a device when a run began: load, free memory, governor, battery, screen, other work."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from agents import Agent
from quantfarm.facts import conditions

LIMIT_S = 60.0
#: Asking takes a device half a second; between short runs it is not asked each time.
FRESH_S = 10.0


@dataclass(slots=True)
class Conditions:
    """A device's, asked anew where what is known is older than ten seconds."""

    agent: Agent
    _known: dict[str, Any] = field(default_factory=dict[str, Any])
    _asked: float = -FRESH_S

    def now(self) -> dict[str, Any]:
        """Nothing of a simulated device. Raises AgentError."""
        if self.agent.profile.simulated:
            return {}
        if time.monotonic() - self._asked >= FRESH_S:
            lines: list[str] = []
            self.agent.run(["sh", "-c", conditions.COMMAND], on_line=lines.append, limit_s=LIMIT_S)
            self._known, self._asked = conditions.parse(lines), time.monotonic()
        return dict(self._known)
