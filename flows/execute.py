"""Run one cell on one device and land what came of it. A failure is a row, never a hole."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents import Agent, AgentError, Exit
from flows import environments, gate, item_cache
from flows.progress import tell
from flows.pushing import Told
from flows.seen import Lines
from flows.station import Station
from flows.stopping import Stopped
from flows.version import version
from quantfarm import builds, metrics, suites
from quantfarm.metrics import starts
from quantfarm.metrics.conditions import conditions as trace_conditions
from quantfarm.nouns import Artifact, Cell, Landed, Measurement, Outcome, State, Trace
from quantfarm.runtimes import runtime
from storage import fencing
from storage.home import Home
from storage.landing import TraceWriter, land

LEASE_LOST = "the device's lease was lost while it was measured: somebody else may have used it meanwhile"
#: The last lines that a run's programs said on stderr, for the log.
SAID = 20
#: Seconds a cell may take where the request does not say, by kind: long, since a cell of a large
#: model on a small device is slow; it is there for runs that hang.
LIMIT_S = {"sustained": 4 * 3600.0, **dict.fromkeys(suites.QUALITY, 24 * 3600.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A cell with all that is needed to run it. `files` are local paths by the runtime's names."""

    cell: Cell
    attempt: int
    artifact: Artifact
    files: Mapping[str, Path]
    obstacle: str = ""  # why it cannot run: what it needs could not be made
    sweep: str = ""
    night: str = ""
    reproduce: str = ""  # the command that measures this variant again
    limit_s: float | None = None

    @property
    def limit(self) -> float:
        return self.limit_s or LIMIT_S.get(self.cell.workload.kind, 3600.0)


def run_cell(home: Home, station: Station, job: Job, stopped: Callable[[], bool] = lambda: False) -> Landed:
    """Measure and land. Raises Stopped, Fenced, and FarmError when the result cannot be written."""
    began, clock = datetime.now(UTC), time.monotonic()
    with TraceWriter(home, job.cell.id, job.attempt) as trace:
        answered = item_cache.files(home, job)
        job = replace(job, files={**job.files, **answered})
        found = measure(station, job, trace, stopped, item_cache.writer(home, job))
        if stopped():
            trace.discard()
            raise Stopped(f"{job.cell.label} was stopped")
        outcome = found.outcome
        if outcome.state is State.OK and not station.lease.held():
            outcome = Outcome(state=State.FAILED, stage="run", reason=LEASE_LOST, retryable=True)
        landed = Landed(
            cell=job.cell,
            attempt=job.attempt,
            outcome=outcome,
            measurements=found.measurements if outcome.state is State.OK else (),
            artifact=job.artifact,
            conditions=found.conditions,
            started_at=began.isoformat(timespec="milliseconds"),
            seconds=round(time.monotonic() - clock, 3),
            sweep=job.sweep,
            night=job.night,
        )
        fencing.admit(home, job.cell.profile.name, station.lease.token)
        land(home, landed, trace.path)
    return landed


def unheard(line: str) -> None:
    """Nobody else listens."""
    del line


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of a run."""

    outcome: Outcome
    measurements: tuple[Measurement, ...]
    conditions: Mapping[str, Any]


def measure(
    station: Station, job: Job, trace: TraceWriter, stopped: Callable[[], bool], heard: Callable[[str], None] = unheard
) -> Found:
    """Gate, push, run, parse, measure. Never raises for what the device did: that is an outcome.

    `heard`: who else is given each line of the run's, as it comes.
    """
    before: dict[str, Any] = {"quantfarm": version(), "os": station.profile.os, "reproduce": job.reproduce}
    before["lease"] = f"{station.lease.token.lineage}:{station.lease.token.count}"
    events = Trace(events=())
    try:
        before |= station.conditions.now()
        before |= gate.wait(station, job.cell.workload, stopped)
        left = _run(station, job, trace, stopped, heard)
        outcome, events = _judge(job, trace.path, left)
    except AgentError as error:
        outcome = Outcome(state=State.FAILED, stage=error.stage, reason=str(error), retryable=error.retryable)
    outcome, measured = _measure(_really(job.cell, outcome, events), events)
    measured = starts.remarked(measured, before)
    return Found(outcome=outcome, measurements=measured, conditions={**before, **_described(events)})


def _run(
    station: Station, job: Job, trace: TraceWriter, stopped: Callable[[], bool], heard: Callable[[str], None]
) -> Exit:
    """Everything it needs onto the device, then the command; what the sensors saw is written before its end."""
    under, lines = runtime(job.cell.runtime), Lines(trace, station)

    def each(line: str) -> None:
        lines.write(line)
        heard(line)

    there = _push(station.agent, job, {**under.files(job.cell), **job.files})
    if python := _python(job.cell):
        there["python"] = python
    left = station.agent.run(under.command(job.cell, there), on_line=each, limit_s=job.limit, stopped=stopped)
    lines.finish()
    for line in left.stderr.splitlines()[-SAID:]:
        tell("said", f"{station.profile.name}: {line.rstrip()}")
    return left


def _python(cell: Cell) -> str:
    """The interpreter that the cell's runtime has on its device (the cell's: a rerun compares two of them); empty
    where it is the runner's own affair. This machine's is the runtime's environment."""
    options, under = dict(cell.profile.options), runtime(cell.runtime)
    if own := options.get(f"python_{under.name}"):
        return str(own)
    if under.environment and cell.profile.kind == "local":
        return str(environments.python(under))
    return str(options.get("python") or "")


def _push(agent: Agent, job: Job, files: Mapping[str, Path]) -> dict[str, str]:
    there: dict[str, str] = {}
    for name, file in files.items():
        there[name] = agent.push(file, _digest(job, name), Told(agent.profile.name, file))
    return there


def _digest(job: Job, name: str) -> str:
    """The sha256 of a pushed file where it is known: an agent sends nothing that is there already."""
    if name == "model":
        return job.artifact.sha256  # each file of a folder is hashed, and remembered, by who sends it
    return str(job.cell.workload.settings.get(f"{name}_sha256") or "")


def _judge(job: Job, trace: Path, left: Exit) -> tuple[Outcome, Trace]:
    """The outcome by the trace's own end mark; an exit status proves nothing by itself."""
    try:
        # Decoded as it came: what is no UTF-8 is the parser's to refuse.
        events = runtime(job.cell.runtime).parse(trace.read_text("utf-8", "surrogateescape").splitlines())
    except ValueError as error:
        reason = left.reason or f"printed what is not an event: {error}"
        return Outcome(state=State.FAILED, stage="run" if left.reason else "parse", reason=reason), Trace(events=())
    if left.reason:
        return Outcome(state=State.FAILED, stage="run", reason=left.reason), events
    if events.finished:
        return Outcome(state=State.OK), events
    return _failure(events, left), events


def _really(cell: Cell, outcome: Outcome, events: Trace) -> Outcome:
    """A good run of another build than the cell's is no answer to its question."""
    ran = builds.another(cell.build, events.first("begin").get("versions"))
    if outcome.state is not State.OK or not ran:
        return outcome
    reason = f"{ran}: register {cell.profile.name} again (`quantfarm device add --again`), so that its builds are known"
    return Outcome(state=State.FAILED, stage="start", reason=reason)


def _failure(events: Trace, left: Exit) -> Outcome:
    end = events.first("end")
    if end:
        return Outcome(
            state=State.FAILED,
            stage=str(end.get("stage", "run")),
            reason=str(end.get("error", "failed without saying why")),
            retryable=bool(end.get("retryable", False)),
        )
    last = left.stderr.strip().splitlines()[-1:] or [""]
    said = f"; its last words: {last[0][:300]}" if last[0] else ""
    return Outcome(state=State.FAILED, stage="run" if events.events else "start", reason=_how(left) + said)


def _how(left: Exit) -> str:
    """Without an end event: how the process went, in words."""
    signal = -left.code if left.code < 0 else left.code - 128 if left.code > 128 else 0
    if signal == 9:  # SIGKILL
        return "killed by signal 9 before its end event, as the kernel does when memory runs out"
    if signal:
        return f"killed by signal {signal} before its end event"
    return f"ended without its end event (exit status {left.code})"


def _measure(outcome: Outcome, events: Trace) -> tuple[Outcome, tuple[Measurement, ...]]:
    """Measurements of a good run; figures that are no numbers make it a failed one."""
    if outcome.state is not State.OK:
        return outcome, ()
    try:
        measured = metrics.measure(events)
        strange = [m.metric for m in measured if not math.isfinite(m.value)]
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        return Outcome(state=State.FAILED, stage="parse", reason=f"its events give no figures: {error!r}"), ()
    if strange or not measured:
        reason = f"not a number: {', '.join(strange)}" if strange else "its events hold no figures"
        return Outcome(state=State.FAILED, stage="parse", reason=reason), ()
    return outcome, measured


def _described(events: Trace) -> dict[str, Any]:
    try:
        return trace_conditions(events)
    except (ValueError, KeyError, TypeError):
        return {}
