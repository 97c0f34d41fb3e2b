"""What the two comparisons of pushing share: rates, and that nothing is sent of what is there."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import abba

from agents import Agent

MIB = 2**20


def known(file: Path) -> str:
    """The digest, beforehand, as the store knows it of every artifact."""
    return file.with_suffix(".sha256").read_text()


def rates(file: Path, sent: float, checked: float) -> abba.Figures:
    """MiB/s of seconds: until it was sent, and until its digest was checked there too."""
    mib = file.stat().st_size / MIB
    return {"sent_mib_s": mib / sent, "sent_and_checked_mib_s": mib / checked}


def present_s(agent: Agent, file: Path) -> float:
    """Seconds that a push takes of what is there; ends the benchmark where a byte of it is sent."""
    agent.push(file, known(file))
    told: list[int] = []
    began = time.perf_counter()
    agent.push(file, known(file), lambda done, _: told.append(done))
    took = time.perf_counter() - began
    return took if not told else sys.exit("what was there was sent again")
