"""Running the programs of others: lines as they come, the whole log kept, nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from quantfarm.errors import FarmError

#: Seconds between looks at whether somebody asks to stop.
LOOK_S = 0.5
NO_NETWORK = "no network: the package index cannot be reached"
NO_COMPILER = "no C++ compiler: install one (Debian: apt install g++; macOS: xcode-select --install)"
#: What their logs say -> what a user can do about it.
KNOWN = {
    "No space left on device": "the disk is full: make room, or set QUANTFARM_CACHE to a folder elsewhere",
    "Temporary failure in name resolution": NO_NETWORK,
    "Name or service not known": NO_NETWORK,
    "nodename nor servname provided": NO_NETWORK,
    "Failed to establish a new connection": NO_NETWORK,
    "Network is unreachable": NO_NETWORK,
    "Connection refused": NO_NETWORK,
    "tcp connect error": NO_NETWORK,
    "operation timed out": NO_NETWORK,
    "Could not fetch URL": NO_NETWORK,
    "dns error": NO_NETWORK,
    "(from versions: none)": "no network (the package index cannot be reached), or the index in use does not have it",
    "Could not find a version": "the package index in use does not have it",
    "there is no version of": "the package index in use does not have it",
    "was not found in the package registry": "the package index in use does not have it",
    "was not found in the provided package locations": "the package index in use does not have it",
    "No CMAKE_CXX_COMPILER could be found": NO_COMPILER,
    "Could not find compiler set in environment variable": NO_COMPILER + ", or correct CC and CXX",
    "No CMAKE_C_COMPILER could be found": NO_COMPILER,
}


#: What pip says around an error, whatever it was.
FRAME = (
    *("subprocess-exited-with-error", "metadata-generation-failed", "Encountered error while", "Failed building"),
    *("This error originates from a subprocess", "See above for"),
)


class ProgramFailed(FarmError):
    """`said`: all that the program printed."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


def explain(log: str) -> str:
    """What a user can do about a failed program, from its log; else the last line that speaks of an error."""
    for said, advice in KNOWN.items():
        if said in log:
            return advice
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() and not any(said in line for said in FRAME)]
    return (errors or lines or ["it said nothing"])[-1][:300]


def run(
    command: Sequence[str],
    *,
    what: str,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    environment: Mapping[str, str] | None = None,
    keep_fds: Sequence[int] = (),
    niceness: int = 0,
    good: Callable[[int, str], bool] = lambda status, _: status == 0,
    stopped: Callable[[], bool] | None = None,
) -> str:
    """Runs to the end and returns its output (stdout and stderr together), which is also kept in `log`.

    `good` judges exit status and output. Raises FarmError "what: advice (log)" when it failed.
    The whole process group is ended when this program is interrupted, and once `stopped()`, which is a failure too.
    """
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            pass_fds=tuple(keep_fds),
            start_new_session=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise FarmError(f"{what}: cannot start {command[0]}: {error.strerror}") from error
    if niceness:
        os.setpriority(os.PRIO_PROCESS, process.pid, niceness)
    with _ended_when(process, stopped):
        said = _read(process, on_line)
    if log:
        log.write_text(said)
    if not good(process.returncode, said):
        where = f" (log: {log})" if log else ""
        raise ProgramFailed(f"{what} failed: {explain(said)}{where}", said)
    return said


@contextmanager
def _ended_when(process: subprocess.Popen[str], stopped: Callable[[], bool] | None) -> Generator[None]:
    """Within this block the process is ended once somebody asks to stop."""
    over = threading.Event()

    def watch(asked: Callable[[], bool]) -> None:
        while not over.wait(LOOK_S):
            if asked():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                return

    watcher = threading.Thread(target=watch, args=(stopped,), daemon=True) if stopped else None
    if watcher:
        watcher.start()
    try:
        yield
    finally:
        over.set()
        if watcher:
            watcher.join()


def _read(process: subprocess.Popen[str], on_line: Callable[[str], None] | None) -> str:
    lines: list[str] = []
    assert process.stdout
    try:
        with process.stdout:
            for line in process.stdout:
                lines.append(line)
                if on_line:
                    on_line(line.rstrip("\n"))
        process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    return "".join(lines)
