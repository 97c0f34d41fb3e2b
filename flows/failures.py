"""Land a failure that happened before its cell could be run."""

from __future__ import annotations

from datetime import UTC, datetime

from flows.execute import Job
from flows.version import version
from quantfarm.nouns import Landed, Outcome, State
from storage.home import Home
from storage.landing import land


def land_failure(home: Home, job: Job, stage: str, reason: str, retryable: bool = False) -> Landed:
    """A row that says at which stage and why; there is no trace."""
    landed = Landed(
        cell=job.cell,
        attempt=job.attempt,
        outcome=Outcome(state=State.FAILED, stage=stage, reason=reason, retryable=retryable),
        conditions={"quantfarm": version(), "reproduce": job.reproduce},
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        sweep=job.sweep,
        night=job.night,
    )
    land(home, landed, None)
    return landed
