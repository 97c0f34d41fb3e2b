"""A device while it is ours: reached by its agent, leased, and watched by its sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agents import Agent, Lease
from flows.conditions import Conditions
from flows.watch import Watch
from quantfarm.nouns import DeviceProfile


@dataclass(frozen=True, slots=True)
class Station:
    agent: Agent
    lease: Lease
    watch: Watch
    conditions: Conditions

    @property
    def profile(self) -> DeviceProfile:
        return self.agent.profile


@contextmanager
def leased(agent: Agent, holder: str, on_wait: Callable[[str], None]) -> Iterator[Station]:
    """Raises AgentError where the device cannot be reached or must not be used."""
    with agent.lease(holder, on_wait) as lease, Watch(agent) as watch:
        yield Station(agent, lease, watch, Conditions(agent))
