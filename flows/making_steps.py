"""One step of making: a runner on a host, followed to its end; and turns among those who would make the same."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agents import Agent, Exit
from flows.step_progress import StepProgress
from flows.stopping import Stopped
from quantfarm.errors import FarmError
from quantfarm.nouns import Trace

MAKE_LIMIT_S = 24 * 3600.0
#: Between two looks at whether who makes the same is done.
PAUSE_S = 0.2


class MakeError(FarmError):
    """A variant could not be made: its cells fail with this reason, the sweep goes on."""


def never() -> bool:
    """Nobody asks to stop."""
    return False


def run_step(
    agent: Agent,
    command: Sequence[str],
    parse: Callable[[list[str]], Trace],
    what: str,
    stopped: Callable[[], bool] = never,
) -> Trace:
    """Run a making step; its trace. Raises MakeError with what the step itself said, Stopped."""
    lines: list[str] = []
    told = StepProgress(what)

    def keep(line: str) -> None:
        lines.append(line)
        told.look(line)

    left = agent.run(command, on_line=keep, limit_s=MAKE_LIMIT_S, stopped=stopped)
    if stopped():
        raise Stopped(f"{what}: stopped")
    try:
        trace = parse(lines)
    except ValueError as error:
        raise MakeError(f"{what}: printed what is not an event: {error}") from error
    if not trace.finished or left.reason:
        raise MakeError(f"{what}: {_why(trace, left)}")
    return trace


def _why(trace: Trace, left: Exit) -> str:
    said = left.stderr.strip().splitlines()[-1:]
    return left.reason or str(trace.first("end").get("error", "")) or " ".join([f"exit status {left.code}", *said])


@contextlib.contextmanager
def in_turn(path: Path, stopped: Callable[[], bool]) -> Iterator[None]:
    """Holds the lock; who is told to stop does not wait for it any longer. Raises Stopped."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if stopped():
                    raise Stopped("stopped while another makes the same") from None
                time.sleep(PAUSE_S)
        yield
