"""Python environments that quantizers and runtimes need on this machine, made before a plan names their versions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flows.progress import tell
from quantfarm import planning
from quantfarm.nouns import DeviceProfile
from quantfarm.quantizers import Quantizer
from quantfarm.runtimes import Runtime
from quantfarm.sweeps import Sweep
from quantfarm.toolchain import environments
from quantfarm.toolchain.conversion import requirements
from quantfarm.toolchain.news import Step


def make(sweep: Sweep, profiles: Sequence[DeviceProfile]) -> None:
    """All that a sweep needs here. Raises FarmError with the requirement that cannot be had and what to do."""
    for needs in planning.environments(sweep, profiles):
        python(needs)


def python(needs: Quantizer | Runtime) -> Path | None:
    """The interpreter of its environment, made the first time; None where it needs none. Raises FarmError."""
    if not needs.environment:
        return None
    made = environments.environment(needs.environment, requirements(needs.runner), _tell)
    return environments.python_of(made)


def _tell(step: Step) -> None:
    tell("note", f"{step.what}{f': {step.note}' if step.note else ''}")
