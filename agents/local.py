"""The machine that the controller itself runs on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from agents import AgentError, Exit, Lease, Progress, leases, machine, silent
from quantfarm.nouns import DeviceProfile

#: A longer line is not a runner's: the run is ended and the cell fails.
LINE_LIMIT = 32 * 2**20
STDERR_LINES = 40
GRACE_S = 2.0


class LocalAgent:
    """Runs commands in a session of their own, with stdin as the lifeline they watch."""

    def __init__(self, profile: DeviceProfile) -> None:
        self.profile = profile
        self._lease_fds: tuple[int, ...] = ()

    def run(
        self,
        command: Sequence[str],
        *,
        on_line: Callable[[str], None],
        limit_s: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Exit:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=self._lease_fds,
            )
        except OSError as error:  # told as a shell would
            return Exit(code=127, stderr=f"{command[0]}: {error.strerror}")
        watch = _Watch(process, limit_s, stopped)
        stderr: deque[bytes] = deque(maxlen=STDERR_LINES)
        assert process.stdout and process.stderr and process.stdin
        drain = threading.Thread(target=_drain, args=(process.stderr, stderr), daemon=True)
        drain.start()
        try:
            with watch:
                _read_lines(process.stdout, on_line, watch)
                code = process.wait()
        finally:
            _end(process)
            drain.join(GRACE_S)
            for pipe in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(OSError):
                    pipe.close()
        return Exit(code=code, reason=watch.reason, stderr=b"".join(stderr).decode(errors="replace"))

    def push(self, file: Path, sha256: str, on_progress: Progress = silent) -> str:
        """Nothing to send: the artifact store is on this machine (and checks its own digests)."""
        del sha256, on_progress
        return str(file)

    def pull(self, path: str, to: Path) -> None:
        if Path(path).resolve() == to.resolve():
            return
        try:
            partial = to.with_name(f".{to.name}.partial")
            shutil.copyfile(path, partial)
            partial.replace(to)
        except OSError as error:
            raise AgentError(f"cannot bring {path}: {error.strerror}", stage="pull", retryable=False) from error

    def probe(self) -> Mapping[str, Any]:
        return machine.facts()

    @contextmanager
    def lease(self, holder: str, on_wait: Callable[[str], None]) -> Iterator[Lease]:
        # Named for the machine, not the profile: two profiles of one machine are one device.
        with leases.lease("local", holder, on_wait) as held:
            self._lease_fds = (held.fd,)
            try:
                yield held
            finally:
                self._lease_fds = ()

    @contextmanager
    def forward(self, port: int, local: int = 0) -> Iterator[int]:
        """It is here already: `local` is of no use."""
        del local
        yield port

    def close(self) -> None:
        """Nothing is kept open."""


class _Watch:
    """Ends the process group when its time is up or a stop is asked for; sleeps otherwise."""

    def __init__(self, process: subprocess.Popen[bytes], limit_s: float, stopped: Callable[[], bool]) -> None:
        self.process, self.limit_s, self.stopped = process, limit_s, stopped
        self.reason = ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _loop(self) -> None:
        deadline = time.monotonic() + self.limit_s
        # One look a second: the controller sleeps while a device measures.
        while not self._done.wait(min(1.0, max(0.01, deadline - time.monotonic()))):
            if self.stopped():
                return self.end("stopped on request")
            if time.monotonic() >= deadline:
                return self.end(f"took longer than its limit of {self.limit_s:g} s")
        return None

    def end(self, reason: str) -> None:
        self.reason = self.reason or reason
        _kill_group(self.process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _read_lines(stdout: IO[bytes], on_line: Callable[[str], None], watch: _Watch) -> None:
    while line := stdout.readline(LINE_LIMIT):
        if len(line) >= LINE_LIMIT:
            return watch.end(f"printed a line longer than {LINE_LIMIT // 2**20} MiB")
        on_line(line.decode(errors="replace"))
    return None


def _drain(pipe: IO[bytes], into: deque[bytes]) -> None:
    with contextlib.suppress(ValueError, OSError):
        while line := pipe.readline(4096):
            into.append(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    """However we came here, nothing of the run stays behind: close its lifeline, wait, then kill."""
    if process.poll() is None:
        assert process.stdin
        with contextlib.suppress(OSError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    _kill_group(process)
    process.wait()
