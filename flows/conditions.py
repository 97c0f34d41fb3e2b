"""What else was so on a device when a run began."""

from __future__ import annotations

from typing import Any

from agents.machine import conditions as of_this_machine
from flows.station import Station


def before(station: Station) -> dict[str, Any]:
    """Nothing of a simulated device. Raises AgentError."""
    return {} if station.profile.simulated else of_this_machine()
