"""Runs a command and watches its memory and the processor's clock beside it, ten times a second.

    python -P sampler.py --hz 10 -- COMMAND [ARGUMENT…]

The command's lines pass through unchanged. What was sampled stays in memory while the command
measures and is written as `sample` events just before the command's own `end` line, which so
stays the last. Closing our stdin ends the command. Our exit status is the command's, 128 + n
for signal n. With `--wrap NAME` the command is one that knows no events: `begin` and `end` are
written for it. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

LINE_LIMIT = 32 * 2**20  # bytes; a longer line is no event
SAMPLE_LIMIT = 36_000  # an hour at 10 Hz; then every second sample goes and the rate halves
GRACE_S = 0.5  # from closing the command's stdin to killing it
STATUS = {b"VmHWM": "hwm_mib", b"VmRSS": "rss_mib", b"RssAnon": "rss_anon_mib", b"RssFile": "rss_file_mib"}
TICKS = os.sysconf("SC_CLK_TCK")


def event(kind: str, **fields: Any) -> bytes:
    return (json.dumps({"event": kind, "t": time.monotonic_ns(), **fields}, allow_nan=False) + "\n").encode()


# ------------------------------------------------------------------ what is sampled


class Proc:
    """A process as Linux shows it; its files are opened once, so a sample is a few reads."""

    def __init__(self, pid: int) -> None:
        self._status = os.open(f"/proc/{pid}/status", os.O_RDONLY)
        self._stat = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        self._clocks = [fd for fd in map(_open, _clock_files()) if fd is not None]

    def values(self) -> dict[str, float]:
        """MiB, counts, seconds, MHz; empty once the process is gone."""
        found: dict[str, float] = {}
        for line in os.pread(self._status, 8192, 0).splitlines():
            name, _, value = line.partition(b":")
            if name in STATUS:
                found[STATUS[name]] = int(value.split()[0]) / 1024
        if not found:
            return {}
        # proc(5): after the name in brackets majflt is the 10th field, utime and stime the 12th and 13th.
        fields = os.pread(self._stat, 4096, 0).rpartition(b")")[2].split()
        found |= {"majflt": int(fields[9]), "cpu_s": (int(fields[11]) + int(fields[12])) / TICKS}
        if clocks := [int(os.pread(fd, 32, 0)) / 1000 for fd in self._clocks]:
            found["mhz"] = sum(clocks) / len(clocks)
        return found | {"load_1min": os.getloadavg()[0]}


def _clock_files() -> list[Path]:
    return sorted(Path("/sys/devices/system/cpu/cpufreq").glob("policy*/scaling_cur_freq"))[:16]


def _open(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        fd = os.open(path, os.O_RDONLY)
        int(os.pread(fd, 32, 0))  # some machines list a clock that cannot be read
        return fd
    return None


class Ps:
    """Where there is no /proc: resident memory alone, and never more than once a second."""

    def __init__(self, pid: int) -> None:
        self._command = ["ps", "-o", "rss=", "-p", str(pid)]
        self._last = 0.0

    def values(self) -> dict[str, float]:
        if time.monotonic() - self._last < 1:
            return {}
        self._last = time.monotonic()
        out = subprocess.run(self._command, capture_output=True, check=False).stdout.strip()
        return {"rss_mib": int(out) / 1024} if out else {}


class Samples:
    """Samples taken so far, kept in memory: writing them would wake whoever reads."""

    def __init__(self, pid: int, hz: float) -> None:
        self._process, self._every = (Proc if Path("/proc/self/status").exists() else Ps)(pid), 1 / hz
        self.source = "proc" if isinstance(self._process, Proc) else "ps"
        self._next = time.monotonic()
        self._taken: list[tuple[int, dict[str, float]]] = []

    def wait(self) -> float:
        """Seconds to the next sample."""
        return max(0.0, self._next - time.monotonic())

    def take_if_due(self) -> None:
        if self.wait() > 0:
            return
        self._next = max(self._next + self._every, time.monotonic())
        with contextlib.suppress(OSError, ValueError, IndexError):  # the process may just have gone
            if values := self._process.values():
                self._taken.append((time.monotonic_ns(), values))
        if len(self._taken) > SAMPLE_LIMIT:
            self._taken, self._every = self._taken[::2], self._every * 2

    def lines(self) -> Iterator[bytes]:
        for t, values in self._taken:
            rounded = {name: round(value, 3) for name, value in values.items()}
            yield (json.dumps({"event": "sample", "t": t, "source": self.source, "values": rounded}) + "\n").encode()
        self._taken = []


# ------------------------------------------------------------------ the command


class Command:
    """The command, freshly exec'd, with a stdin that closes when ours does or when we die."""

    def __init__(self, arguments: Sequence[str], wrap: str) -> None:
        # What we were given (a device's lease) the command keeps too: descriptors are left open.
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            arguments, stdin=pipe, stdout=pipe, stderr=pipe if wrap else None, close_fds=False
        )
        self.last_words = b""
        self._kill_at: float | None = None

    def hear(self) -> bool:
        """Passes on what it said on stderr, keeping its last words; False when it will say no more."""
        if self.process.stderr is None:
            return False
        os.set_blocking(self.process.stderr.fileno(), False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.process.stderr.fileno(), 65536):
                self.last_words = (self.last_words + data)[-4096:]
                os.write(2, data)
            return False
        return True

    def stop(self) -> None:
        """Closes its stdin, and kills it a little later if that was not heard."""
        if self._kill_at is None and self.process.stdin:
            self.process.stdin.close()
            self._kill_at = time.monotonic() + GRACE_S

    def kill_if_due(self) -> None:
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self.process.kill()

    @property
    def stopping(self) -> bool:
        return self._kill_at is not None


def write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def is_end(line: bytes) -> bool:
    if b'"end"' not in line:
        return False
    with contextlib.suppress(ValueError, AttributeError, RecursionError):
        return json.loads(line).get("event") == "end"
    return False


class Lines:
    """Passes whole lines on; holds an `end` line back until the samples are written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of the line that is not whole yet
        self.end = b""

    def feed(self, data: bytes) -> None:
        """Raises ValueError when a line is longer than any event."""
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._line(b"".join([*self._parts, line, b"\n"]))
            self._parts = []
        self._parts.append(rest)
        if len(self._parts) * 65536 > LINE_LIMIT and sum(map(len, self._parts)) > LINE_LIMIT:
            raise ValueError(f"the command printed a line longer than {LINE_LIMIT // 2**20} MiB")

    def _line(self, line: bytes) -> None:
        if self.end:  # there was something after the end: then it was none
            write(self.end)
            self.end = b""
        if is_end(line):
            self.end = line
        else:
            write(line)

    def finish(self) -> None:
        if rest := b"".join(self._parts):
            self._line(rest)


def watch(command: Command, samples: Samples, lines: Lines) -> None:
    """Until the command has closed its stdout: pass lines on, take samples, heed our own stdin."""
    process = command.process
    with selectors.SelectSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ, "out")  # type: ignore[arg-type]
        ready.register(0, selectors.EVENT_READ, "in")
        if process.stderr:
            ready.register(process.stderr, selectors.EVENT_READ, "err")
        while True:
            timeout = min(samples.wait(), GRACE_S / 5) if command.stopping else samples.wait()
            for key, _ in ready.select(timeout):
                if key.data == "out":
                    if not (data := os.read(key.fd, 65536)):
                        return
                    lines.feed(data)
                elif key.data == "err" and not command.hear():
                    ready.unregister(key.fileobj)
                elif key.data == "in" and not os.read(key.fd, 65536):
                    ready.unregister(key.fileobj)
                    command.stop()
            samples.take_if_due()
            command.kill_if_due()


def wait(command: Command, samples: Samples) -> int:
    """The command has closed its stdout; a moment later it should have ended."""
    deadline = time.monotonic() + 30 * GRACE_S
    while True:
        try:
            code = command.process.wait(min(samples.wait(), 0.1))
            command.hear()
            return code
        except subprocess.TimeoutExpired:
            command.hear()
            samples.take_if_due()
            if time.monotonic() > deadline:
                command.stop()
            command.kill_if_due()


def describe(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    with contextlib.suppress(ValueError):
        return f"ended by signal {-code} ({signal.Signals(-code).name})"
    return f"ended by signal {-code}"


def wrapped_end(code: int, last_words: bytes) -> bytes:
    """`end` for a command that knows no events: we saw its exit status ourselves."""
    if code == 0:
        return event("end", ok=True)
    said = last_words.decode(errors="replace").strip().splitlines()[-1:]
    error = " ".join([describe(code), *said])
    return event("end", ok=False, stage="run", error=error, retryable=False)


def clocks() -> dict[str, int]:
    """This moment on the machine's other clocks: what its sensors stamp their looks with."""
    found = {"wall_ns": time.time_ns()}
    if hasattr(time, "CLOCK_BOOTTIME"):
        found["boottime_ns"] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return found


def wrapped_begin(name: str) -> bytes:
    versions = {"python": platform.python_version()}
    fields = {"versions": versions, "system": platform.platform(), "pid": os.getpid(), "clocks": clocks()}
    return event("begin", schema=1, clock="monotonic_ns", runner=name, **fields)


def run(arguments: Sequence[str], hz: float, wrap: str) -> int:
    lines = Lines()
    if wrap:
        write(wrapped_begin(wrap))
    try:
        command = Command(arguments, wrap)
    except OSError as error:
        if wrap:
            reason = f"{arguments[0]}: {error.strerror}"
            write(event("end", ok=False, stage="start", error=reason, retryable=False))
        print(f"sampler: {arguments[0]}: {error.strerror}", file=sys.stderr)
        return 127
    os.nice(10)  # ours alone, the command has started: it goes first where a core is short
    signal.signal(signal.SIGTERM, lambda *_: command.stop())
    samples = Samples(command.process.pid, hz)
    try:
        watch(command, samples, lines)
        code = wait(command, samples)
    finally:
        command.process.kill()
        command.process.wait()
    lines.finish()
    write(b"".join(samples.lines()) + lines.end + (wrapped_end(code, command.last_words) if wrap else b""))
    if code < 0:
        print(f"sampler: the command {describe(code)}", file=sys.stderr)
    return code if code >= 0 else 128 - code


def main() -> int:
    parser = argparse.ArgumentParser(description="runs a command and samples its memory beside it; see docs/events.md")
    parser.add_argument("--hz", type=float, default=10.0, help="samples a second")
    parser.add_argument("--wrap", default="", metavar="NAME", help="the command knows no events: begin and end for it")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    try:
        return run(given.command, given.hz, given.wrap)
    except BrokenPipeError:
        return 1
    except (OSError, ValueError) as error:
        print(f"sampler: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
